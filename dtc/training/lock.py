"""A lock on a run directory, released by the operating system when the process ends in whatever way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dtc.errors import TrainingError


@contextmanager
def only_worker(run: Path) -> Iterator[None]:
    """Hold the run for this process alone.

    Raises:
        TrainingError: Another process holds it.
    """
    with (run / "lock").open("ab") as file:
        if not _try_lock(file):
            raise TrainingError(f"{run}: another process is working on this run; wait for it, or stop it")
        yield  # the operating system lets go when the file is closed


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
