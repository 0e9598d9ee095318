"""Where a run stands: everything that changes from step to step, apart from the arrays of engine and optimizer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from dtc.forms import Array
from dtc.training.carry import Arrays
from dtc.training.engine import Parameters
from dtc.training.evaluate import Score

PHASES = ("step", "distortion", "evaluation", "data", "checkpoint")


@dataclass(frozen=True)
class Best:
    """The step with the best distorted weights so far, and their score."""

    step: int
    score: Score


@dataclass
class State:
    """Position of a run.

    Attributes:
        steps: Optimizer steps planned in all; 0 until it is known.
        step: Optimizer steps done.
        epoch: Number of the present epoch, from 0.
        position: Batches done in this epoch.
        distortions: Distortions done.
        carry: Inputs carried to the next batch; empty at the start of an epoch.
        best: The best evaluation so far.
        stale: Evaluations since then.
        seconds: Time spent so far in each of `PHASES`, over all sessions of the run.
    """

    steps: int = 0
    step: int = 0
    epoch: int = 0
    position: int = 0
    distortions: int = 0
    carry: Arrays = field(default_factory=dict)
    best: Best | None = None
    stale: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))

    def advance(self, *, ends_epoch: bool) -> None:
        """Go on to the next batch, or to the next epoch with nothing carried over."""
        self.position += 1
        if ends_epoch:
            self.epoch, self.position, self.carry = self.epoch + 1, 0, {}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time of the block to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - start

    def facts(self) -> dict[str, Any]:
        """Return all but the carried arrays, for JSON."""
        facts = asdict(self)
        del facts["carry"]
        return facts

    @classmethod
    def from_facts(cls, facts: dict[str, Any], carry: Arrays) -> Self:
        """Return the state that `facts` was called on."""
        best = facts["best"]
        known = Best(best["step"], Score(**best["score"])) if best else None
        return cls(**{**facts, "best": known, "carry": carry})


def put_on(parameters: Parameters, dense: Mapping[str, Array]) -> None:
    """Give parameters other values; sites that are frozen, and so no parameters, have theirs from the start."""
    for name in dense.keys() & parameters.keys():
        parameters[name][...] = dense[name]


@contextmanager
def wearing(parameters: Parameters, dense: Mapping[str, Array]) -> Iterator[None]:
    """Give parameters other values for a while."""
    saved = {name: parameters[name].copy() for name in dense.keys() & parameters.keys()}
    try:
        put_on(parameters, dense)
        yield
    finally:
        put_on(parameters, saved)
