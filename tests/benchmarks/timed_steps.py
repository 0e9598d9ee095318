"""What a process that is timed by another one answers: seconds and CPU seconds of each step, a line for a line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def answer(make: Callable[[str], Callable[[], object]]) -> None:
    """Read names and counts until the end of standard input; each step is made once, and its seconds are written.

    CPU seconds are those of all threads: on a machine that other work shares they tell more than seconds do.
    """
    known: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        name, count = line.split()
        if name not in known:
            known[name] = make(name)
        seconds = []
        for _ in range(int(count)):
            start, used = time.perf_counter(), time.process_time()
            known[name]()
            seconds.append((time.perf_counter() - start, time.process_time() - used))
        sys.stdout.write(json.dumps(seconds) + "\n")
        sys.stdout.flush()
