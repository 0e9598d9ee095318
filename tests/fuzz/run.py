"""Thousands of damaged models through every method: `python tests/fuzz/run.py [COUNT [FIRST]]`.

Each mutant is inspected, and compressed by two methods, in turn. What goes wrong is printed with its seed; the status
is 1 if anything did. Seeds that found something belong into `kept.txt`, which the tests run.
"""

from __future__ import annotations

import sys
import time

from mutants import mutant
from seeds import seeds
from trial import COMMANDS, faults


def main(count: int = 5000, first: int = 0) -> int:
    """Try the seeds from `first` on; return how many found something."""
    models, bad, begin = seeds(), 0, time.perf_counter()
    for seed in range(first, first + count):
        name, content = mutant(models, seed)
        found = faults(content, commands_of(seed))
        bad += bool(found)
        for each in found:
            print(f"seed {seed} ({name}): {each}", flush=True)
        if seed % 500 == 499:
            print(
                f"{seed + 1 - first} of {count}, {bad} found something, {time.perf_counter() - begin:.0f} s", flush=True
            )
    print(f"{count} mutants, {bad} of them found something")
    return bad


def commands_of(seed: int) -> tuple[tuple[str, ...], ...]:
    """Return what is done with a mutant: it is inspected, and compressed by two of the methods."""
    inspect, *methods = COMMANDS
    return inspect, methods[seed % len(methods)], methods[(seed // len(methods) + 3) % len(methods)]


if __name__ == "__main__":
    sys.exit(1 if main(*map(int, sys.argv[1:3])) else 0)
