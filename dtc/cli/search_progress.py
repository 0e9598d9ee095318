"""Progress of a search: a bar a stage on a terminal, a line now and then elsewhere, and the best file so far."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dtc.cli.progress import console
from dtc.formatting import printable
from dtc.search.searching import OnSearch
from dtc.search.workers import Announced, BestSoFar, Measuring, SearchEvent, TaskDone

_QUIET = 10.0
"""Seconds between two lines."""


@contextmanager
def search_progress(*, quiet: bool) -> Iterator[OnSearch]:
    """Yield a function that shows the events of a search on standard error, or does nothing if `quiet`."""
    if quiet:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield _SearchLines().show
    else:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[best]}"),
            console=console,
        ) as bar:
            yield _SearchBar(bar).show


def _words(best: BestSoFar) -> str:
    return f"best so far: {best.words}{'' if best.reaches else ' (misses the goal)'}"


class _SearchLines:
    def __init__(self) -> None:
        self._told = time.monotonic()
        self._best = ""

    def show(self, event: SearchEvent) -> None:
        if isinstance(event, Measuring):
            console.print(f"measuring {event.words}", markup=False)
        elif isinstance(event, Announced):
            console.print(printable(event.words), markup=False)
        elif isinstance(event, BestSoFar):
            if _words(event) != self._best:
                self._best = _words(event)
                console.print(printable(self._best), markup=False)
        else:
            self._show_task(event)

    def _show_task(self, event: TaskDone) -> None:
        now = time.monotonic()
        if now - self._told >= _QUIET or event.done == event.total:
            console.print(printable(f"{event.stage}: {event.done} of {event.total}"), markup=False)
            self._told = now


class _SearchBar:
    def __init__(self, bar: Progress) -> None:
        self._bar, self._task, self._stage, self._best = bar, TaskID(0), "", ""

    def show(self, event: SearchEvent) -> None:
        if isinstance(event, Measuring):
            self._bar.add_task(f"measuring {event.words}", total=None, best="")
        elif isinstance(event, Announced):
            self._bar.console.print(printable(event.words), markup=False)
        elif isinstance(event, BestSoFar):
            self._best = _words(event)
        elif event.stage != self._stage:
            self._stage = event.stage
            self._task = self._bar.add_task(event.stage, total=event.total, completed=event.done, best=self._best)
        else:
            self._bar.update(self._task, completed=event.done, total=event.total, best=self._best)
