"""The interval between distortions, found by trials: it regularizes, and how much of that is good is in the data.

D. Lee et al.: Modulating regularization frequency for efficient compression-aware model training, 2021 (arXiv
2105.01875): the rarer the distortions, the stronger each of them, up to where training cannot make up for them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtc.errors import TrainingError
from dtc.passes.plan import Distorted
from dtc.training.best import Best
from dtc.training.engine import Live
from dtc.training.evaluate import Score
from dtc.training.events import Event
from dtc.training.session import Session
from dtc.training.snapshot import write_json

FILE = "intervals.json"

SHARE, LEAST = 0.1, 100
"""A trial has this share of the steps of the run, and no fewer steps than that, if the run has as many."""

DISTORTIONS = (2, 5, 15, 50)
"""Distortions in a trial, a candidate each."""


def trial_steps(steps: int) -> int:
    """Return how many steps a trial has for a run of so many."""
    return min(steps, max(LEAST, math.ceil(SHARE * steps)))


def candidates(steps: int) -> list[int]:
    """Return the intervals to try for a run of so many steps, the longest first."""
    length = trial_steps(steps)
    return sorted({max(1, length // count) for count in DISTORTIONS}, reverse=True)


@dataclass
class IntervalTrials:
    """The trials of a run, of which those that are done are kept in its directory.

    Attributes:
        folder: The directory of the run.
        steps: Of the whole run.
        run_trial: Carries out a trial, a whole run in small, of so many steps with an interval; returns None where it
            was told to stop.
    """

    folder: Path
    steps: int
    run_trial: Callable[[int, int], Score | None]

    @property
    def begun(self) -> bool:
        """Whether a trial has ended before."""
        return (self.folder / FILE).exists()

    def carry_out(self) -> Iterator[tuple[int, Score]]:
        """Yield every interval with the score of its trial; fewer where one was told to stop."""
        done = self._done()
        for interval in candidates(self.steps):
            if str(interval) not in done:
                score = self.run_trial(interval, trial_steps(self.steps))
                if score is None:
                    return
                done[str(interval)] = vars(score)
                write_json(self.folder / FILE, done)
            yield interval, Score(**done[str(interval)])

    def _done(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found


def best_interval(scores: dict[int, Score]) -> int:
    """Return the interval with the best score; of equal ones the longest, which takes the least time.

    Raises:
        TrainingError: No trial gave a number.
    """
    ranked = {interval: score.rank() for interval, score in scores.items() if not math.isnan(score.rank())}
    if not ranked:
        raise TrainingError("no trial of an interval between distortions gave a number; lower the learning rate")
    return max(ranked, key=lambda interval: (ranked[interval], interval))


class Unrecorded:
    """The record of a trial, of which only its best score is kept, where the session has it."""

    def log(self, event: Event) -> None:
        """Keep nothing."""

    def checkpoint(self, session: Session) -> None:
        """Keep nothing."""

    def keep_best(self, best: Best, parameters: Live, distorted: Distorted) -> None:
        """Keep nothing."""
