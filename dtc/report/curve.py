"""The training curve of a run, from its events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from dtc.errors import TrainingError
from dtc.report.document import Curve, EvaluationPoint, Jump, TrainingOutcome
from dtc.training.events import DistortedWeights, Evaluated, Event, Finished, Noted, Started, Stepped, from_line

POINTS = 2000
"""Most points of a curve; `metrics.jsonl` has every step."""


class _Thinner:
    """Brings losses together, `every` steps a point, while they come."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._pending: list[float] = []
        self._last = 0
        self._points: list[tuple[int, float, float, float]] = []

    def add(self, event: Stepped) -> None:
        self._pending.append(event.loss)
        self._last = event.step
        # Points end at multiples of `every`, wherever a session began: a resumed run gives the same curve.
        if event.step % self._every == 0:
            self._flush()

    def curve(self) -> Curve:
        self._flush()
        step, mean, least, greatest = zip(*self._points, strict=True) if self._points else ((), (), (), ())
        return Curve(every=self._every, step=step, mean=mean, least=least, greatest=greatest)

    def _flush(self) -> None:
        if self._pending:
            losses = self._pending
            self._points.append((self._last, sum(losses) / len(losses), min(losses), max(losses)))
            self._pending = []


def read_events(metrics: Path) -> Iterator[Event]:
    """Yield the events of a run; a last line that is still being written is left out.

    Raises:
        TrainingError: The file is missing or damaged.
    """
    try:
        with metrics.open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield from_line(line)
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{metrics}: cannot be read ({error})") from error


def describe_training(events: Iterable[Event], *, engine: str, seconds: dict[str, float]) -> TrainingOutcome:
    """Return the outcome of a training, finished or not, from its events."""
    # Until the event `Started` comes nothing is known of the length; it is the first one in a whole file.
    started, thinner = Started(0, 0), _Thinner(1)
    jumps: list[Jump] = []
    evaluations: list[EvaluationPoint] = []
    notes: list[str] = []
    step, best, metric = 0, None, None
    for event in events:
        step = max(step, event.step)
        match event:
            case Started():
                started, thinner = event, _Thinner(math.ceil(event.steps / POINTS) or 1)
            case Stepped():
                thinner.add(event)
            case DistortedWeights(loss_before=before, loss_after=after):
                jumps.append(Jump(step=event.step, before=before, after=after))
            case Evaluated(loss=loss, value=value):
                evaluations.append(EvaluationPoint(step=event.step, loss=loss, value=value, best=event.best))
                # The last evaluation that was the best so far; `Finished` has the last word on it.
                metric, best = event.metric or metric, event.step if event.best else best
            case Noted(text=text):
                notes.append(text)
            case Finished():
                best = event.best_step
    return TrainingOutcome(
        engine=engine,
        steps=step,
        planned=started.steps,
        parameters=started.parameters,
        best_step=best,
        metric=metric,
        evaluated_on=started.evaluated_on,
        seconds=seconds,
        frozen=started.frozen,
        notes=tuple(notes),
        curve=thinner.curve(),
        distortions=tuple(jumps),
        evaluations=tuple(evaluations),
    )
