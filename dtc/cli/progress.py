"""Progress of a compression: bars of weights and of training on a terminal, plain lines for the rest and elsewhere."""

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
from dtc.pipeline.progress import ModelProbed, SiteDone, StageBegan
from dtc.training.events import DistortedWeights, Evaluated, Event, Finished, Noted, Started, Stepped

console = Console(stderr=True, highlight=False)

Shown: TypeAlias = Event | CheckedBatch | ModelProbed | SiteDone | StageBegan
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
                TextColumn("{task.fields[told]}"),
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

    def hear(self, event: Shown) -> None:
        """Note an event of which no line is told."""
        self._heart.hear(event)

    def show(self, event: Shown) -> None:
        self.hear(event)
        if isinstance(event, CheckedBatch):
            self._show_check(event)
        elif isinstance(event, SiteDone):
            self._show_site(event)
        elif isinstance(event, ModelProbed):
            self._show_probe(event)
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

    def _show_probe(self, event: ModelProbed) -> None:
        now = time.monotonic()
        if event.done == 1:
            self._told = self._began = now
        if now - self._told >= _QUIET:
            left = (now - self._began) * (event.of / event.done - 1)
            console.print(f"{_probed(event)}{f'; {left:.0f} s left at the most' if left > 0 else ''}", markup=False)
            self._told = now

    def _show_site(self, event: SiteDone) -> None:
        now = time.monotonic()
        if event.done == 1:
            self._told = self._began = now
        if now - self._told >= _QUIET:
            # By bytes: sites differ in size by more than in time for a byte.
            left = (now - self._began) * (event.bytes_of / max(event.bytes_done, 1) - 1)
            console.print(f"compressed {_sites(event)}; {left:.0f} s left", markup=False)
            self._told = now


class _Bar:
    """Shows how far training is, or how many weights are compressed, as a bar with the time left; the rest as lines."""

    def __init__(self, bar: Progress, lines: _Lines) -> None:
        self._bar = bar
        self._lines = lines
        self._training: TaskID | None = None
        self._sites: TaskID | None = None
        self._probes: TaskID | None = None
        self._step, self._steps, self._loss, self._distortions = 0, 0, "-", 0

    def show(self, event: Shown) -> None:
        match event:
            # A resumed run tells `Started` again, first of all, so that the bar is there before the first step.
            case Started(steps=steps):
                self._step, self._steps, self._loss, self._distortions = 0, steps, "-", 0
                self._training = self._bar.add_task("training", total=steps, told="")
                self._show_training()
                self._lines.show(event)
            case Stepped(step=step, loss=loss):
                self._step, self._loss = step, f"{loss:.4f}"
                self._show_training()
                self._lines.show(event)
            # Distortions and sites count up in the bar: hundreds of lines would push the evaluations away.
            case DistortedWeights(count=count):
                self._distortions = count
                self._show_training()
                self._lines.hear(event)
            case SiteDone():
                self._show_site(event)
                self._lines.hear(event)
            case ModelProbed():
                self._show_probe(event)
                self._lines.hear(event)
            case _:
                self._lines.show(event)

    def _show_training(self) -> None:
        if self._training is not None:
            told = f"{self._step}/{self._steps} steps, loss {self._loss}, {self._distortions} distortions"
            self._bar.update(self._training, completed=self._step, told=told)

    def _show_probe(self, event: ModelProbed) -> None:
        if self._probes is None or event.done == 1:
            self._probes = self._bar.add_task("measuring", total=event.of or None, told="")
        self._bar.update(self._probes, completed=event.done, told=_probed(event))

    def _show_site(self, event: SiteDone) -> None:
        # By bytes: sites differ in size by more than in time for a byte.
        if self._sites is None or event.done == 1:
            self._sites = self._bar.add_task("compressing", total=event.bytes_of, told="")
        self._bar.update(self._sites, completed=event.bytes_done, told=_sites(event))


def _probed(event: ModelProbed) -> str:
    of = f" of at most {event.of:,}" if event.of else ""
    return f"run with other weights {event.done:,} times{of}"


def _sites(event: SiteDone) -> str:
    return f"{event.done} of {event.of} weights, {size(event.bytes_done)} of {size(event.bytes_of)}"


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
