"""What a process that is timed by another one answers: seconds of each of so many steps, a line for a line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def answer(make: Callable[[str], Callable[[], object]]) -> None:
    """Read names and counts until the end of standard input; each step is made once, and its seconds are written."""
    known: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        name, count = line.split()
        if name not in known:
            known[name] = make(name)
        seconds = []
        for _ in range(int(count)):
            start = time.perf_counter()
            known[name]()
            seconds.append(time.perf_counter() - start)
        sys.stdout.write(json.dumps(seconds) + "\n")
        sys.stdout.flush()
