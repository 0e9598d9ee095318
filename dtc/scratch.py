"""Temporary folders that are gone in the end, also where their process was killed.

A folder `.dtc-PID-xxxxxxxx` holds a file `lock`, which its process has locked as long as it lives. Whoever makes a
folder removes those beside it whose process is gone.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dtc.locking import try_lock

_PREFIX = ".dtc-"
_LOCK = "lock"
_UNLOCKED_SECONDS = 600
"""After so long a folder without a lock was left by a process that ended before it had one."""


@contextmanager
def scratch_folder(place: Path | None = None) -> Iterator[Path]:
    """Make a folder in `place`, else among the system's temporary files, and remove it with all that lies in it.

    Raises:
        OSError: There is no such place, or it cannot be written.
    """
    place = Path(tempfile.gettempdir()) if place is None else place
    remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(dir=place, prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        with (folder / f"new-{_LOCK}").open("wb") as lock:
            try_lock(lock)
            (folder / f"new-{_LOCK}").rename(folder / _LOCK)  # seen by others only once it is held
            inner = folder / "files"
            inner.mkdir()
            yield inner
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(place: Path) -> None:
    """Remove the temporary folders of dtc in `place` whose process has ended."""
    for folder in place.glob(f"{_PREFIX}*-*"):
        if folder.is_dir() and not folder.is_symlink() and _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
            return False
        with (folder / _LOCK).open("rb+") as lock:
            return try_lock(lock)
    except FileNotFoundError:
        return _age(folder) > (_UNLOCKED_SECONDS if _lives(folder) else 1)
    except OSError:
        return False


def _lives(folder: Path) -> bool:
    """True if the process that a folder is named after is there, or it cannot be told."""
    pid = folder.name.removeprefix(_PREFIX).split("-")[0]
    if sys.platform == "win32" or not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:  # gone meanwhile
        return 0.0
