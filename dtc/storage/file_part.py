"""A part of a file: read when it is asked for, copied to another file a few megabytes at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from dtc.errors import ModelError

CHUNK = 1 << 22
"""Bytes that are held while a part is copied."""


@dataclass(frozen=True)
class FilePart:
    """Bytes of a file, which is opened only while they are read.

    Attributes:
        path: The file.
        offset: Where they begin.
        length: How many there are.
        stamp: What tells that the file is still the one that was looked at first: its inode, size and time; None where
            nobody else writes it.
    """

    path: Path
    offset: int
    length: int
    stamp: tuple[int, int, int] | None = None

    @classmethod
    def of(cls, path: Path, offset: int, length: int) -> Self:
        """Return a part of a file that others may write, too."""
        return cls(path, offset, length, _stamp(path.stat()))

    def moved(self, path: Path) -> Self:
        """Return the same part of a copy of the file."""
        return replace(self, path=path, stamp=_stamp(path.stat()))

    def read(self) -> npt.NDArray[np.uint8]:
        """Return the bytes, uint8 `[length]`, in memory of their own.

        Raises:
            ModelError: The file was changed meanwhile, or is gone.
        """
        held = np.empty(self.length, np.uint8)
        filled = 0
        with self._opened() as file:
            while filled < self.length:
                filled += self._some(file.readinto(held[filled:].data))
        return held

    def chunks(self) -> Iterator[memoryview]:
        """Yield the bytes, a few megabytes at a time, in memory that is used again for the next ones.

        Raises:
            ModelError: As for `read`.
        """
        held, left = memoryview(bytearray(min(CHUNK, self.length))), self.length
        with self._opened() as file:
            while left:
                count = self._some(file.readinto(held[:left]))
                yield held[:count]
                left -= count

    @contextmanager
    def _opened(self) -> Iterator[FileIO]:
        try:
            with FileIO(self.path) as file:
                if self.stamp is not None and _stamp(os.fstat(file.fileno())) != self.stamp:
                    raise ModelError(f"{self.path}: was changed while it was read; run the command again")
                file.seek(self.offset)
                yield file
        except OSError as error:
            raise ModelError(f"{self.path}: cannot be read ({error.strerror})") from error

    def _some(self, count: int | None) -> int:
        if not count:
            raise ModelError(f"{self.path}: became shorter while it was read; run the command again")
        return count


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns
