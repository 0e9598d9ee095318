"""Measures of the code itself, of one checkout or of several side by side.

    python tests/benchmarks/measure_code.py [--details] CHECKOUT [CHECKOUT ...]

Python of the folders dtc, passes, deploy and models; tests and links are left out. A number with three parts is the
median, the 90th percentile and the largest.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click
import numpy as np

ROOTS = ("dtc", "passes", "deploy", "models")
PASSAGE = 6
"""Lines that make a passage; it is repeated where the same stand elsewhere."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Module:
    """A Python file: its path in the checkout, and its text."""

    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @cached_property
    def lines(self) -> list[str]:
        """The lines."""
        return self.text.splitlines()

    @cached_property
    def functions(self) -> list[Function]:
        """Every function and method, nested ones included."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        """Every class."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]

    def place(self, node: Documented) -> str:
        """Return where a node stands, in words."""
        return f"{node.name} ({self.path}:{node.lineno})"


def modules(checkout: Path) -> list[Module]:
    """Return the Python files of a checkout; a link is skipped, as what it leads to is found where it lies."""
    roots = [checkout / name for name in ROOTS if not (checkout / name).is_symlink()]
    paths = sorted(path for root in roots for path in root.rglob("*.py") if not _linked(path, checkout))
    return [Module(path.relative_to(checkout), path.read_text(encoding="utf-8")) for path in paths]


def _linked(path: Path, checkout: Path) -> bool:
    return any((checkout / each).is_symlink() for each in path.relative_to(checkout).parents)


def length(function: Function) -> int:
    """Return the lines of a function from `def` to its end, its docstring not counted."""
    whole = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return whole
    docstring = function.body[0]
    return whole - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def complexity(function: Function) -> int:
    """Return the number of independent ways through a function (T. McCabe, 1976), inner functions included."""
    return 1 + sum(_decisions(node) for node in ast.walk(function))


def _decisions(node: ast.AST) -> int:
    match node:
        case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While() | ast.ExceptHandler() | ast.Assert():
            return 1
        case ast.comprehension(ifs=conditions):
            return 1 + len(conditions)
        case ast.BoolOp(values=values):
            return len(values) - 1
        case ast.match_case(pattern=ast.MatchAs(pattern=None), guard=None):
            return 0  # `case _` is the else of a match
        case ast.match_case():
            return 1
    return 0


def arguments(function: Function) -> int:
    """Return the number of arguments, without self and cls."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"])) + (given.vararg is not None) + (given.kwarg is not None)


def public(tree: ast.Module | ast.ClassDef) -> Iterator[Documented]:
    """Yield the classes and functions that no underscore hides, methods included."""
    for node in tree.body:
        if isinstance(node, Documented) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def documented(files: Iterable[Module], kinds: type[ast.ClassDef] | type[Function]) -> str:
    """Return the share of public functions or classes with a docstring."""
    found = [node for each in files for node in public(each.tree) if isinstance(node, kinds)]
    return share(sum(ast.get_docstring(node) is not None for node in found), len(found))


def comment_lines(module: Module) -> tuple[int, int]:
    """Return the lines that are a comment and nothing else, and those that have one."""
    tokens = tokenize.generate_tokens(io.StringIO(module.text).readline)
    rows = [token.start[0] for token in tokens if token.type == tokenize.COMMENT]
    return sum(module.lines[row - 1].lstrip().startswith("#") for row in rows), len(rows)


def repeated_names(files: Iterable[Module]) -> dict[str, list[str]]:
    """Return the class names that stand for more than one class, and where."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module in files:
        for each in module.classes:
            places[each.name].append(f"{module.path}:{each.lineno}")
    return {name: where for name, where in sorted(places.items()) if len(where) > 1}


def inner_imports(files: Iterable[Module]) -> list[str]:
    """Return the imports inside functions."""
    found = {
        (str(module.path), node.lineno)
        for module in files
        for function in module.functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return [f"{path}:{line}" for path, line in sorted(found)]


def code_lines(module: Module) -> list[tuple[int, str]]:
    """Return the lines that say something, stripped, with their numbers: no blank line, comment or import."""
    spans = [(node.lineno, node.end_lineno or 0) for node in ast.walk(module.tree) if isinstance(node, _IMPORTS)]
    skipped = {row for first, last in spans for row in range(first, last + 1)}
    stripped = ((row, line.strip()) for row, line in enumerate(module.lines, 1) if row not in skipped)
    return [(row, line) for row, line in stripped if line and not line.startswith("#")]


_IMPORTS = (ast.Import, ast.ImportFrom)


def passages(files: Sequence[Module]) -> list[str]:
    """Return each pair of places that share `PASSAGE` lines or more, the longest first: `lines: one, other`."""
    texts = [code_lines(module) for module in files]
    places: defaultdict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for number, text in enumerate(texts):
        for at in range(len(text) - PASSAGE + 1):
            places[tuple(line for _, line in text[at : at + PASSAGE])].append((number, at))
    pairs = {(a, b) for found in places.values() for i, a in enumerate(found) for b in found[i + 1 :]}
    runs = []
    for (one, at), (other, there) in pairs:
        if ((one, at - 1), (other, there - 1)) in pairs:
            continue  # the middle of a longer one
        steps = 0
        while ((one, at + steps), (other, there + steps)) in pairs:
            steps += 1
        where = (f"{files[number].path}:{texts[number][start][0]}" for number, start in ((one, at), (other, there)))
        runs.append((steps + PASSAGE - 1, *where))
    return [f"{lines} lines: {first}, {second}" for lines, first, second in sorted(runs, key=lambda run: -run[0])]


def spread(numbers: Sequence[int], *, middle: bool = True) -> str:
    """Return median, 90th percentile and largest."""
    parts = [f"{np.percentile(numbers, 50):.0f}"] if middle else []
    return "/".join([*parts, f"{np.percentile(numbers, 90):.0f}", str(max(numbers))])


def share(part: int, whole: int, digits: int = 0) -> str:
    """Return a share in per cent."""
    return f"{100 * part / max(whole, 1):.{digits}f} %"


def measures(checkout: Path) -> dict[str, str]:
    """Return every measure of a checkout, in words."""
    files = modules(checkout)
    functions = [each for module in files for each in module.functions]
    lines = sum(len(module.lines) for module in files)
    comments = [sum(counts) for counts in zip(*map(comment_lines, files), strict=True)]
    classes = [each for module in files for each in module.classes]
    return {
        "files / lines": f"{len(files)} / {lines:,}",
        "functions / classes": f"{len(functions):,} / {len(classes)}",
        "file p50/p90/max": spread([len(module.lines) for module in files]),
        "function p50/p90/max": spread([length(each) for each in functions]),
        "complexity p90/max": spread([complexity(each) for each in functions], middle=False),
        "functions above complexity 12": str(sum(complexity(each) > 12 for each in functions)),
        "arguments p90/max": spread([arguments(each) for each in functions], middle=False),
        "return types": share(sum(each.returns is not None for each in functions), len(functions)),
        "public functions documented": documented(files, Function),  # type: ignore[arg-type]
        "public classes documented": documented(files, ast.ClassDef),
        "lines of comment": f"{comments[0]} ({share(comments[0], lines, 1)})",
        "lines with a comment": f"{comments[1]} ({share(comments[1], lines, 1)})",
        "class names of several classes": str(len(repeated_names(files))),
        "imports inside functions": str(len(inner_imports(files))),
        f"repeated passages of {PASSAGE} lines and more": str(len(passages(files))),
        "README, words": str(len((checkout / "README.md").read_text(encoding="utf-8").split())),
        "tests, lines": f"{sum(len(path.read_text().splitlines()) for path in checkout.glob('tests/**/*.py')):,}",
    }


def details(checkout: Path) -> Iterator[str]:
    """Yield what stands behind the measures: the longest and most complex functions, names, imports, passages."""
    files = modules(checkout)
    functions = [(module.place(each), each) for module in files for each in module.functions]
    for title, measure in (("longest", length), ("most complex", complexity), ("most arguments", arguments)):
        ranked = Counter({place: measure(each) for place, each in functions}).most_common(10)
        yield f"{title}: " + ", ".join(f"{number} {place}" for place, number in ranked)
    yield from (f"class {name}: {', '.join(where)}" for name, where in repeated_names(files).items())
    yield from (f"import inside a function: {place}" for place in inner_imports(files))
    yield from (f"repeated, {each}" for each in passages(files))


@click.command()
@click.argument("checkouts", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--details", "wordy", is_flag=True, help="also name what stands behind the numbers")
def main(checkouts: tuple[Path, ...], *, wordy: bool) -> None:
    """Print the measures of each of the CHECKOUTS in a column."""
    columns = [measures(checkout) for checkout in checkouts]
    print(f"| {'':42} | {' | '.join(f'{checkout.resolve().name:>16}' for checkout in checkouts)} |")
    print(f"| --- | {' | '.join('---:' for _ in checkouts)} |")
    for name in columns[0]:
        print(f"| {name:42} | {' | '.join(f'{column[name]:>16}' for column in columns)} |")
    for checkout in checkouts if wordy else ():
        print(f"\n{checkout.resolve().name}", *details(checkout), sep="\n  ")


if __name__ == "__main__":
    main()
