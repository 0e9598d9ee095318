"""Every command and every example of the README and of docs/ does what a reader would expect: it runs."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from pages import NOT_RUN, PAGES, ROOT, Block, blocks, name

from dtc.cli.app import app

Dtc = Callable[..., tuple[int, str, str]]

WITH_EXAMPLES = [page for page in PAGES if blocks(page)]
SHORTER = {
    "compress": ["--seconds", "0"],
    "check": ["--seconds", "0", "--threads", "1"],
    "--check": ["--seconds", "0"],
    "--retrain": ["--epochs", "1", "--threads", "1"],
    "train": ["--epochs", "1", "--threads", "1"],
}
"""What is added to commands with such a word, of which pages have dozens: less time, the same way through the code."""


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name)
def test_the_examples_of_a_page_run(page: Path, reader: Path, dtc: Dtc) -> None:
    if page.name == "README.md":  # makes model and samples itself
        for given in ("model.onnx", "train.npz"):
            (reader / given).unlink()
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page):
        if block.file is not None:
            (reader / block.file).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, f"{name(page)}", "exec"), names)
        elif block.language == "sh" and block.excuse is None:
            for command in block.commands():
                _run(command, dtc, reader)


def _run(command: str, dtc: Dtc, folder: Path) -> None:
    words = shlex.split(command, comments=True)
    installed = _install(folder)
    if words[0] != "dtc" or installed:  # python, a variable in front, or another distribution to be found
        search = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": search}
        run = ["bash", "-ec", _python(" ".join([command, *_shorter(words)]))]
        done = subprocess.run(run, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return
    status, _, complaint = dtc(*words[1:], *_shorter(words))
    assert status == 0, f"{command}\n{complaint}"


def _shorter(words: list[str]) -> list[str]:
    """Return the options to add; a run that goes on has its own already."""
    return [] if "--resume" in words else [option for word in words for option in SHORTER.get(word, [])]


def _install(folder: Path) -> bool:
    """Make the distribution that a page has described, if any, known as an installation does."""
    path = folder / "pyproject.toml"
    if not path.exists():
        return False
    project = tomllib.loads(path.read_text())["project"]
    metadata = folder / f"{project['name']}-{project['version']}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups]
    (metadata / "entry_points.txt").write_text("".join(lines))
    return True


def _python(command: str) -> str:
    """Return a command of a shell in which this interpreter stands for `python` and `dtc`."""
    dtc = "from dtc.cli import main; import sys; sys.argv[0] = 'dtc'; main()"
    return f'dtc() {{ {sys.executable} -c "{dtc}" "$@"; }}; python() {{ {sys.executable} "$@"; }}; {command}'


def _excused() -> list[tuple[Path, Block]]:
    found = [(page, block) for page in PAGES for block in blocks(page) if block.language == "sh"]
    return [(page, block) for page, block in found if block.excuse is not None]


@pytest.mark.parametrize(("page", "block"), _excused(), ids=lambda item: name(item) if isinstance(item, Path) else "")
def test_what_is_not_run_says_why_and_could_be_run(page: Path, block: Block) -> None:
    assert block.excuse in NOT_RUN
    for command in block.commands():
        if block.excuse == "# run by .ci/run":
            lines = (ROOT / ".ci" / "run").read_text().splitlines()
            assert any(set(command.split()) <= set(line.split()) for line in lines), command
        else:
            _understood(command)


def _understood(command: str) -> None:
    """Fail if a command names a script, module or option that is not there."""
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    match words:
        case ["dtc", *arguments]:
            _parsed(app, arguments)
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module) is not None, command
        case ["python", script, *_]:
            assert (ROOT / script).is_file() or (ROOT / script / "__main__.py").is_file(), command
        case ["cmake", "-S", source, *_]:
            assert (ROOT / source / "CMakeLists.txt").is_file(), command
        case ["cmake", "--build", *_]:
            pass
        case _:
            pytest.fail(f"nothing is known of the command {command!r}")


def _parsed(command: click.Command, arguments: list[str]) -> None:
    """Let click read the arguments of a command or of the command of a group, without running it."""
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), arguments[0])
        assert found is not None, arguments[0]
        command, arguments = found, arguments[1:]
    command.make_context(command.name, list(arguments))


LINK = re.compile(r"\]\(([^)#]+)?(#[^)]+)?\)")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{name(page)}: {target}"
        if anchor:
            assert anchor in _anchors(path), f"{name(page)}: {target}{anchor}"


def _anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page have on GitHub."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 700


def test_no_page_stands_alone() -> None:
    linked = set()
    for page in PAGES:
        targets = (target for target, _ in LINK.findall(page.read_text(encoding="utf-8")) if target.endswith(".md"))
        linked |= {(page.parent / target).resolve() for target in targets if not target.startswith("http")}
    assert set(PAGES) - linked == {ROOT / "README.md"}
