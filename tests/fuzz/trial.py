"""One case in a process of its own that may die of it: a fork of this one, which has imported and run everything."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cases import Case, Command, write_files

from dtc.cli import main

MEMORY = 8 << 30
"""Bytes of address space: an idle process with the runtimes has some 4 GB of it."""
RESIDENT = 2 << 30
"""Bytes of memory that no case needs, this process included."""
SECONDS = 60
"""Of processor time for a command; ten times as long by the clock, as machines are shared."""


@dataclass(frozen=True)
class Told:
    """What one command ended with; `fault` is what was wrong with that, nothing if it was one line or success."""

    status: int
    out: str
    err: str
    fault: str


@dataclass(frozen=True)
class Ending:
    """How a case ended.

    Attributes:
        faults: What was wrong with it.
        told: What each command ended with: its exit status, and what it said on standard output and error.
        written: Files that were not there before, by name.
        resident: Its largest memory in bytes.
    """

    faults: list[str]
    told: list[Told]
    written: Mapping[str, bytes]
    resident: int

    @property
    def succeeded(self) -> int:
        """How many commands succeeded."""
        return sum(each.status == 0 for each in self.told)


def tried(case: Case) -> Ending:
    """Return how a case ends: tracebacks, crashes, hangs, too much memory, files lost or left behind are faults."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        write_files(case.files, folder)
        told, status, used = _forked(case.commands, folder)
        lost = [name for name, content in case.files.items() if not _is(folder / name, content)]
        strangers = sorted(file.name for file in folder.rglob(".dtc*"))
        written = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    ends = zip(case.commands, told, strict=False)
    faults = [f"{' '.join(command)}: {each.fault}" for command, each in ends if each.fault]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        slow = number in (signal.SIGALRM, signal.SIGXCPU)
        what = f"takes over {SECONDS} s" if slow else f"ended by signal {number}"
        faults.append(f"{' '.join(case.commands[min(len(told), len(case.commands) - 1)])}: {what}")
    elif strangers:
        faults.append(f"left {strangers}")
    faults += [f"lost or changed {lost}"] if lost else []
    resident = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    faults += [f"took {resident >> 20} MB"] if resident > RESIDENT else []
    return Ending(faults, told, {name: written[name] for name in written.keys() - case.files.keys()}, resident)


def _is(file: Path, content: bytes) -> bool:
    """True if a file still has its content; a run may be told to go on, which writes into its folder."""
    return "run" in file.parts or (file.is_file() and file.read_bytes() == content)


def _forked(commands: tuple[Command, ...], folder: Path) -> tuple[list[Told], int, resource.struct_rusage]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _in_child(commands, folder, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().decode(errors="replace").splitlines()
    _, status, used = os.wait4(child, 0)
    return [Told(**json.loads(line)) for line in lines], status, used


def _in_child(commands: tuple[Command, ...], folder: Path, writing: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS * len(commands), -1))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.chdir(folder)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    with os.fdopen(writing, "w") as pipe:
        for command in commands:
            signal.alarm(10 * SECONDS)
            pipe.write(json.dumps(vars(_told(command))) + "\n")
            pipe.flush()
    os._exit(0)


def _told(command: Command) -> Told:
    sys.argv = ["dtc", *command]
    err, out = io.StringIO(), io.StringIO()
    code: object = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:  # noqa: BLE001 - this is what is looked for
        return Told(1, out.getvalue(), err.getvalue(), f"traceback: {traceback.format_exc()[-1500:]}")
    status = code if isinstance(code, int) else 1
    return Told(status, out.getvalue(), err.getvalue(), _fault(status, out.getvalue(), err.getvalue()))


def _fault(status: int, out: str, err: str) -> str:
    """Return what is wrong with an end that is no traceback: it is success, or one line."""
    lines = err.split("\n")[:-1]
    if status not in (0, 1, 2):
        return f"status {status}"
    if status and (len(lines) != 1 or len(lines[0]) > 1500):
        return f"said {len(lines)} lines: {err[:500]}"
    if not status and lines:
        return f"succeeded, and said: {err[:500]}"
    if any(not each.isprintable() for each in (*lines, *out.split("\n"))):
        return f"sent the terminal what it obeys: {err!r}"
    return ""
