"""One worker at a time for a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dtc.errors import TrainingError
from dtc.locking import try_lock


@contextmanager
def only_worker(run: Path) -> Iterator[None]:
    """Hold the run for this process alone.

    Raises:
        TrainingError: Another process holds it.
    """
    with (run / "lock").open("ab") as file:
        if not try_lock(file):
            raise TrainingError(f"{run}: another process is working on this run; wait for it, or stop it")
        yield  # the operating system lets go when the file is closed
