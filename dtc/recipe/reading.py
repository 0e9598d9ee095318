"""YAML read into plain values, with the place of each of them; a recipe may come from a stranger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from dtc.errors import RecipeError
from dtc.recipe import scalars

MAX_BYTES = 1 << 20
MAX_NODES = 20_000
"""Values in a recipe, each alias counted as all that it stands for."""
MAX_DEPTH = 32

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Places:
    """Lines and columns of a recipe's values in its file. All instances are equal, so that equal recipes are."""

    name: str | None = field(default=None, compare=False)
    marks: Mapping[Path, tuple[int, int]] = field(default_factory=dict, compare=False)

    def find(self, path: Path) -> str | None:
        """Return `name:line:column` of the value at a path, or of the part that lacks it; None without a file."""
        if self.name is None:
            return None
        while path and path not in self.marks:
            path = path[:-1]
        line, column = self.marks.get(path, (1, 1))
        return f"{self.name}:{line}:{column}"


class _Loader(yaml.SafeLoader):
    """Makes nodes only; `_Reader` makes the values."""

    yaml_implicit_resolvers = scalars.resolvers()


def read(text: str, name: str) -> tuple[Any, Places]:
    """Return the value of a YAML document, an empty dict for an empty one, and the places in it.

    Raises:
        RecipeError: Not YAML, a key twice, a tag that is no plain value, or too large, too deep, too many aliases.
    """
    if len(text) > MAX_BYTES:
        raise RecipeError(f"{name}: larger than {MAX_BYTES >> 20} MiB, which is no recipe")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise RecipeError(f"{place}: not YAML ({error.problem or error.context})") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{name}: not YAML ({str(error).splitlines()[0]})") from error
    except RecursionError as error:
        raise RecipeError(f"{name}: nested deeper than {MAX_DEPTH} levels") from error
    reader = _Reader(name)
    value = {} if node is None else reader.value(node, ())
    return value, Places(name, reader.marks)


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.marks: dict[Path, tuple[int, int]] = {}
        self.nodes = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        # An alias is read anew wherever it stands, so that ten levels of ten aliases each ("billion laughs") end at
        # MAX_NODES, and an alias within its own anchor at MAX_DEPTH.
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.error(node, f"holds more than {MAX_NODES} values, aliases counted as what they stand for")
        if len(path) > MAX_DEPTH:
            raise self.error(node, f"nested deeper than {MAX_DEPTH} levels (or an alias within its own anchor)")
        # A value in a mapping has the place of its key, set by `entries`; items of a list have their own.
        self.marks.setdefault(path, _mark(node))
        if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
            return dict(self.entries(node, path))
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        raise self.error(node, f"the tag {node.tag} has no place in a recipe")

    def entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        seen: dict[str, yaml.Node] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode) or not isinstance(word := self.scalar(key), str):
                raise self.error(key, "a key must be a word")
            if word in seen:
                raise self.error(key, f"{word!r} is given twice, first in line {_mark(seen[word])[0]}")
            seen[word] = key
            self.marks[*path, word] = _mark(key)
            yield word, self.value(item, (*path, word))

    def scalar(self, node: yaml.ScalarNode) -> str | int | float | bool | None:
        if node.tag not in (scalars.NULL, scalars.BOOL, scalars.INT, scalars.FLOAT, scalars.STR):
            raise self.error(node, f"the tag {node.tag} has no place in a recipe")
        try:
            return scalars.value(node.tag, node.value)
        except ValueError as error:
            raise self.error(node, f"not a number that can be read: {node.value[:40]}") from error

    def error(self, node: yaml.Node, message: str) -> RecipeError:
        line, column = _mark(node)
        return RecipeError(f"{self.name}:{line}:{column}: {message}")


def _mark(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
