"""One damaged model through `dtc inspect` and `dtc compress`, in a process of its own that may die of it."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from dtc.cli import main, render
from dtc.inspection import inspect_model
from dtc.passes.method import methods
from dtc.pipeline import compress

_LOADED = inspect_model, compress, methods(), render
"""What the commands import, once: a fork has it."""

MEMORY = 8 << 30
"""Bytes of address space: an idle process with the runtimes has some 4 GB of it."""
SECONDS = 60

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("inspect",),
    *(
        ("compress", "--seconds", "0", "--method", *words.split())
        for words in (
            "svd --rank 2",
            "prune --sparsity 0.5",
            "binary --bits 1",
            "uniform --bits 4",
            "codebook --codewords 4 --block 1",
            "bins",
            "prune+uniform --sparsity 0.5 --bits 4",
        )
    ),
)


def faults(content: bytes, commands: tuple[tuple[str, ...], ...]) -> list[str]:
    """Return what went wrong with a damaged model: tracebacks, crashes, hangs, too much memory, files left behind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(content)
        found = []
        for command in commands:
            told = _forked([command[0], str(path), *command[1:]], Path(folder))
            found += [] if told is None else [f"{' '.join(command)}: {told}"]
            left = sorted(file.name for file in Path(folder).iterdir() if file.name.startswith(".dtc"))
            found += [f"{' '.join(command)}: left {left}"] if left else []
            for file in set(Path(folder).iterdir()) - {path}:
                file.unlink(missing_ok=True)
        return found


def _forked(arguments: list[str], folder: Path) -> str | None:
    """Run a command in a fork of this process; return what was wrong with how it ended, None if nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _in_child(arguments, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        words = told.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "hangs" if number == signal.SIGALRM else f"ended by signal {number}"
    return words or None


def _in_child(arguments: list[str], writing: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    sys.argv = ["dtc", *arguments]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            main()
    except SystemExit as stop:
        if stop.code not in (0, None, 1, 2):
            os.write(writing, f"status {stop.code}".encode())
        lines = said.getvalue().strip().splitlines()
        if stop.code in (1, 2) and (len(lines) != 1 or len(lines[0]) > 1500):
            os.write(writing, f"said {len(lines)} lines: {said.getvalue()[:500]}".encode())
    except BaseException:  # noqa: BLE001 - this is what is looked for
        os.write(writing, traceback.format_exc()[-1500:].encode())
    os._exit(0)
