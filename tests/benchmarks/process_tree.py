"""A command and all processes that it starts: time, processor time, and the most memory that they hold together."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

EVERY = 0.1
"""Seconds between two looks at the memory."""

FIELDS = ("VmRSS", "RssAnon", "RssFile")


@dataclass(frozen=True)
class Ran:
    """What a command took.

    Attributes:
        status: Its exit status; negative: the signal that ended it.
        seconds: Wall time.
        processor: Seconds of all cores.
        peak: Bytes by field of `FIELDS`, of all processes, when their sum of resident memory was largest.
        out: What it printed, errors included.
    """

    status: int
    seconds: float
    processor: float
    peak: Mapping[str, int]
    out: str


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    largest_file: int | None = None,
    meanwhile: Callable[[int], None] | None = None,
) -> Ran:
    """Run a command to its end; `meanwhile` is called with its process id in a thread of its own.

    `largest_file` is the size in bytes beyond which writing fails, as it does on a full disk.
    """

    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=dict(environment) if environment is not None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if largest_file is not None:  # at once: long before it writes
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest_file, largest_file))
    printed: list[str] = []
    reader = threading.Thread(target=lambda: printed.append(process.stdout.read() if process.stdout else ""))
    reader.start()
    if meanwhile is not None:
        threading.Thread(target=meanwhile, args=(process.pid,), daemon=True).start()
    peak = dict.fromkeys(FIELDS, 0)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        now = memory(process.pid)
        peak = max(peak, now, key=lambda each: each["VmRSS"])
        time.sleep(EVERY)
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    seconds = time.perf_counter() - start
    return Ran(process.returncode, seconds, usage.ru_utime + usage.ru_stime, peak, "".join(printed))


def memory(pid: int) -> dict[str, int]:
    """Return the bytes that a process and those below it hold, by field of `FIELDS`."""
    total = dict.fromkeys(FIELDS, 0)
    for each in [pid, *below(pid)]:
        for line in _read(Path(f"/proc/{each}/status")).splitlines():
            name, _, rest = line.partition(":")
            if name in total:
                total[name] += int(rest.split()[0]) * 1024
    return total


def below(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    found: list[int] = []
    waiting = [pid]
    for each in waiting:  # grows as children are found
        tasks = Path(f"/proc/{each}/task")
        try:
            files = [task / "children" for task in tasks.iterdir()]
        except OSError:
            continue
        children = [int(child) for file in files for child in _read(file).split()]
        found += children
        waiting += children
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended
        return ""
