"""Timing of candidates that take turns, such that it holds on a machine with other work.

The clock of one thread is its processor time, which other processes take nothing of; of several it is that of the wall.
Turns are gathered in blocks: of each candidate a block has its shortest turn, as what disturbs only adds, and what is
told are medians over blocks, of times and of ratios within a block, which meet the same speed of the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

TURNS = 4
"""Of a block."""
LEAST_BLOCKS = 3


@dataclass(frozen=True)
class Times:
    """Seconds of each candidate: the shortest turn of each block."""

    blocks: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        """Return the seconds of a candidate."""
        return float(np.median(self.blocks[name]))

    def ratio(self, base: str, name: str) -> float:
        """Return how many times faster a candidate is than another one."""
        return float(np.median(np.divide(self.blocks[base], self.blocks[name])))


def take_turns(runs: Mapping[str, Callable[[], object]], *, seconds: float, threads: int) -> Times:
    """Time functions for about so many seconds each; a block of turns is never cut."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    blocks: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    begin, done = time.perf_counter(), 0
    while done < LEAST_BLOCKS or time.perf_counter() - begin < seconds * len(runs):
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(TURNS):
            for name, run in runs.items():
                start = clock()
                run()
                taken[name].append(clock() - start)
        for name, turns in taken.items():
            blocks[name].append(min(turns))
        done += 1
    return Times({name: tuple(found) for name, found in blocks.items()})
