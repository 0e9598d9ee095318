"""Progress of a compression: a bar of its training on a terminal, plain lines for the rest and elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dtc.checking.options import CheckedBatch
from dtc.formatting import printable, size
from dtc.pipeline.progress import SiteDone, StageBegan
from dtc.training.events import DistortedWeights, Evaluated, Event, Finished, Noted, Started, Stepped

console = Console(stderr=True, highlight=False)

Shown: TypeAlias = Event | CheckedBatch | SiteDone | StageBegan
OnEvent = Callable[[Shown], None]

_QUIET = 10.0
"""Seconds after which a check says how far it is: a short one says nothing."""


@contextmanager
def progress(*, quiet: bool) -> Iterator[OnEvent]:
    """Yield a function that shows the events of a run on standard error, or does nothing if `quiet`."""
    if quiet:
        yield lambda _: None
    elif not sys.stderr.isatty():
        with _Heartbeat() as heart:
            yield _Lines(heart).show
    else:
        with (
            _Heartbeat() as heart,
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} steps, loss {task.fields[loss]}"),
                TextColumn("{task.fields[distortions]} distortions"),
                TimeRemainingColumn(),
                console=console,
            ) as bar,
        ):
            yield _Bar(bar, _Lines(heart)).show


class _Heartbeat:
    """Says that a stage goes on where nothing else is told for a while, less often the longer that lasts.

    What takes long within a stage, as clustering or running the model, need not know of it.
    """

    def __init__(self) -> None:
        self._stage = StageBegan("")
        self._began = 0.0
        self._news = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> _Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._news.set()
        self._thread.join()

    def hear(self, event: Shown) -> None:
        """Note that something was told."""
        if isinstance(event, StageBegan):
            self._stage, self._began = event, time.monotonic()
        self._news.set()

    def _beat(self) -> None:
        pause = _QUIET
        while not self._ended:
            if self._news.wait(pause):
                self._news.clear()
                pause = _QUIET
            elif self._stage.words:
                console.print(f"{self._stage.words}: {time.monotonic() - self._began:.0f} s so far", markup=False)
                pause *= 2


class _Lines:
    """Shows events as lines; of a long check one now and then."""

    def __init__(self, heart: _Heartbeat) -> None:
        self._heart = heart
        self._told = 0.0
        self._began = 0.0

    def show(self, event: Shown) -> None:
        self._heart.hear(event)
        if isinstance(event, CheckedBatch):
            self._show_check(event)
        elif isinstance(event, SiteDone):
            self._show_site(event)
        elif not isinstance(event, StageBegan):
            for line in _lines(event):
                console.print(printable(line), markup=False)

    def _show_check(self, event: CheckedBatch) -> None:
        now = time.monotonic()
        if event.batch == 1:
            self._told = self._began = now
        if now - self._told >= _QUIET:
            of = "" if event.batches is None else f" of {event.batches}"
            console.print(f"check: batch {event.batch}{of}, {now - self._began:.0f} s", markup=False)
            self._told = now

    def _show_site(self, event: SiteDone) -> None:
        now = time.monotonic()
        if event.done == 1:
            self._told = self._began = now
        if now - self._told >= _QUIET:
            # By bytes: sites differ in size by more than in time for a byte.
            left = (now - self._began) * (event.bytes_of / max(event.bytes_done, 1) - 1)
            sites, read = f"{event.done} of {event.of} weights", f"{size(event.bytes_done)} of {size(event.bytes_of)}"
            console.print(f"compressed {sites}, {read}; {left:.0f} s left", markup=False)
            self._told = now


class _Bar:
    def __init__(self, bar: Progress, lines: _Lines) -> None:
        self._bar = bar
        self._lines = lines
        self._task: TaskID | None = None

    def show(self, event: Shown) -> None:
        # A resumed run tells `Started` again, first of all, so that the bar is there before the first step.
        if isinstance(event, Started):
            self._task = self._bar.add_task("training", total=event.steps, loss="-", distortions=0)
        if self._task is not None and isinstance(event, Stepped):
            self._bar.update(self._task, completed=event.step, loss=f"{event.loss:.4f}")
        if self._task is not None and isinstance(event, DistortedWeights):
            self._bar.update(self._task, distortions=event.count)
        # Distortions count up in the bar: hundreds of lines would push the evaluations away.
        if not isinstance(event, DistortedWeights):
            self._lines.show(event)


def _lines(event: Event) -> Iterator[str]:
    match event:
        case Started(steps=steps, parameters=count, frozen=frozen, evaluated_on=samples):
            yield f"training {count:,} parameters for {steps} steps"
            yield f"evaluations are on {samples}"
            for name, reason in frozen.items():
                yield f"  not trained: {name} ({reason})"
        case DistortedWeights(step=step, count=count, loss_before=before, loss_after=after):
            yield f"step {step}: distortion {count}, loss {before:.4f} -> {after:.4f}"
        case Evaluated(step=step, loss=loss, metric=metric, value=value, best=best):
            score = "" if metric is None or value is None else f", {metric} {value:.6g}"
            yield f"step {step}: evaluation, loss {loss}{score}{' (best so far)' if best else ''}"
        case Noted(text=text):
            yield text
        case Finished(step=step, best_step=best):
            yield f"finished after {step} steps; the weights of step {best} are the result"
