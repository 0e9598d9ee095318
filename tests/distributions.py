"""Distributions of somebody else, as `pip install` leaves them in a folder, and the command line that finds them."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]


def distribution(folder: Path, sources: Mapping[str, str], points: Mapping[str, str]) -> None:
    """Put modules, by name, and an entry point of each group into a folder."""
    info = folder / "foreign-1.0.dist-info"
    info.mkdir(parents=True)
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    groups = (f"[{group}]\n{module} = {module}\n" for group, module in points.items())
    (info / "entry_points.txt").write_text("\n".join(groups))


SERVER = """
import contextlib, io, json, os, sys, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    sys.argv = ["dtc", *json.loads(line)]
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            from dtc.cli import main  # finds what the folder holds
            main()
        except SystemExit as stop:
            status = stop.code or 0
        except Exception:
            traceback.print_exc()
            status = 1
    print(json.dumps([status, out.getvalue(), err.getvalue()]), file=answers, flush=True)
"""


def runner(folder: Path) -> Run:
    """Return what runs `dtc` with a folder on its path: status, output, errors.

    All commands are run in one process, which imports everything once, and ends with the tests.
    """
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])

    @cache
    def server() -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": paths}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", SERVER], text=True, env=environment, **pipes)
        atexit.register(process.communicate)
        return process

    def run(*words: object) -> tuple[int, str, str]:
        asked, answers = server().stdin, server().stdout
        assert asked is not None
        assert answers is not None
        print(json.dumps([str(word) for word in words]), file=asked, flush=True)
        status, out, err = json.loads(answers.readline())
        return status, out, err

    return run
