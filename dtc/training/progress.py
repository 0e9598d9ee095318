"""How far a run is, from its events and a clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dtc.training.events import DistortedWeights, Evaluated, Event, Started, Stepped


@dataclass
class Progress:
    """Follows the events of a run; for a progress bar.

    Attributes:
        steps: Steps planned in all; 0 until it is known.
        step: Steps done.
        loss: Loss of the last step.
        distortions: Distortions done.
        score: The last evaluation.
    """

    clock: Callable[[], float] = time.monotonic
    steps: int = 0
    step: int = 0
    loss: float | None = None
    distortions: int = 0
    score: Evaluated | None = None
    _since: tuple[int, float] | None = field(default=None, repr=False)

    def update(self, event: Event) -> None:
        """Take in an event."""
        match event:
            case Started():
                self.steps = event.steps
            case Stepped():
                self.step, self.loss = event.step, event.loss
                self._since = self._since or (event.step, self.clock())
            case DistortedWeights():
                self.distortions = event.count
            case Evaluated():
                self.score = event

    @property
    def seconds_left(self) -> float | None:
        """Time left at the pace of this session, None until there is a pace."""
        if self._since is None or self.step <= self._since[0]:
            return None
        first, start = self._since
        return (self.clock() - start) / (self.step - first) * (self.steps - self.step)
