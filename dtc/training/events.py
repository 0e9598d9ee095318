"""The events that a run reports while it is running, one JSON object a line in `metrics.jsonl`.

Nothing here depends on the clock: the same run gives the same lines, however often it was interrupted.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from dtc.errors import TrainingError


@dataclass(frozen=True)
class Started:
    """The run as planned; initializers that are not trained and sites that are not compressed, with the reasons.

    `evaluated_on` says in words which samples weights are evaluated on.
    """

    steps: int
    parameters: int
    frozen: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    step: int = 0
    evaluated_on: str = ""


@dataclass(frozen=True)
class Stepped:
    """One optimizer step: the loss before the update, the learning rate, the norm of the gradient before clipping."""

    step: int
    epoch: int
    loss: float
    learning_rate: float
    gradient_norm: float


@dataclass(frozen=True)
class DistortedWeights:
    """The `count`-th distortion: the loss on the step's batch just before and just after it."""

    step: int
    count: int
    loss_before: float
    loss_after: float


@dataclass(frozen=True)
class Evaluated:
    """Distorted weights on the evaluation data; `best` so far or not; None for what is not finite."""

    step: int
    loss: float | None
    metric: str | None
    value: float | None
    best: bool


@dataclass(frozen=True)
class Iterated:
    """The end of an iteration: relative squared error of the distortion, loss and metric of the undistorted weights.

    The evaluation that follows is of the distorted ones; the difference is the quantization loss.
    """

    step: int
    count: int
    error: float
    loss: float
    value: float | None


@dataclass(frozen=True)
class Noted:
    """Something the user should know, such as a damaged checkpoint that was passed over."""

    step: int
    text: str


@dataclass(frozen=True)
class Finished:
    """The end of the run, and the step whose weights are the result."""

    step: int
    best_step: int


Event: TypeAlias = Started | Stepped | DistortedWeights | Evaluated | Iterated | Noted | Finished

_KINDS: dict[str, type[Event]] = {
    "started": Started,
    "step": Stepped,
    "distortion": DistortedWeights,
    "evaluation": Evaluated,
    "iteration": Iterated,
    "note": Noted,
    "finished": Finished,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_line(event: Event) -> str:
    """Return the event as one line of JSON, without the line break."""
    return json.dumps({"event": _NAMES[type(event)], **asdict(event)})


def from_line(line: str) -> Event:
    """Return the event that one line of `metrics.jsonl` holds; the inverse of `to_line`.

    Raises:
        TrainingError: The line holds no event.
    """
    try:
        fields: dict[str, Any] = json.loads(line)
        return _KINDS[fields.pop("event")](**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"metrics.jsonl: not an event: {line[:80]!r}") from error
