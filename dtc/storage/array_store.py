"""A folder that holds large arrays, so that memory need not: what is kept there comes back as read-only maps of files.

Objects made of arrays, such as compressed forms, are kept whole: their arrays lie in the folder, and what is left is a
few hundred bytes. Pages of a map that were looked at count as memory of the process until they are let go, which
loses nothing: they are read again when they are next looked at.
"""

from __future__ import annotations

import hashlib
import itertools
import mmap
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
import numpy.typing as npt

from dtc.errors import ModelError
from dtc.storage.file_part import FilePart

T = TypeVar("T")

LARGE = 1 << 20
"""Bytes from which an array goes into the folder."""

_SEGMENT = 1 << 26
"""Bytes of a file of the folder: a map holds its file open, and so arrays share files."""

_ALIGNED = 64


@dataclass(frozen=True)
class Kept(Generic[T]):
    """An object whose large arrays lie in a folder.

    Attributes:
        rest: All of it but these, pickled; it is made and read by processes of one run, and never leaves the folder's.
        parts: Where the arrays lie, in the order in which they were met.
    """

    rest: bytes
    parts: tuple[FilePart, ...]


class ArrayStore:
    """Large arrays in files of a folder; several processes may keep arrays in one folder, each in files of its own.

    Args:
        folder: It is somebody else's to remove.
        large: Bytes from which an array goes there.
    """

    def __init__(self, folder: Path, large: int = LARGE) -> None:
        self.folder, self.large = folder, large
        self._numbers = itertools.count()
        self._segment: tuple[Path, int, int] | None = None
        self._maps: dict[Path, tuple[mmap.mmap, npt.NDArray[np.uint8]]] = {}
        self._known: dict[bytes, FilePart] = {}

    def keep(self, held: T) -> Kept[T]:
        """Write the large arrays of an object.

        Raises:
            ModelError: There is no room for them.
        """
        parts: list[FilePart] = []

        def is_small(buffer: pickle.PickleBuffer) -> bool:
            raw = buffer.raw()
            if raw.nbytes < self.large:
                return True
            parts.append(self._written(raw))
            return False

        rest = pickle.dumps(held, protocol=5, buffer_callback=is_small)
        return Kept(rest, tuple(parts))

    def take(self, kept: Kept[T]) -> T:
        """Return an object that was kept, its large arrays read-only and on disk until they are looked at."""
        return cast("T", pickle.loads(kept.rest, buffers=[self._mapped(part).data for part in kept.parts]))  # noqa: S301 - written by this run

    def place(self, array: npt.NDArray[Any]) -> FilePart:
        """Return where the bytes of an array lie: where they came from, if from here; those of equal arrays lie once.

        Raises:
            ModelError: There is no room for them.
        """
        content = np.ascontiguousarray(array)
        flat = content.reshape(-1).view(np.uint8)
        part = self._place_of(flat)
        if part is None:
            # What is tried several times comes to the same bytes: they are written once.
            digest = hashlib.blake2b(flat.data, digest_size=20).digest()
            part = self._known.get(digest)
            if part is None:
                part = self._known[digest] = self._written(flat.data)
        self.let_go()
        return part

    def let_go(self) -> None:
        """Let the pages go that were looked at."""
        if not hasattr(mmap, "MADV_DONTNEED"):  # the system does so itself when memory gets short
            return
        for mapped, _ in self._maps.values():
            mapped.madvise(mmap.MADV_DONTNEED)

    def _place_of(self, flat: npt.NDArray[np.uint8]) -> FilePart | None:
        start = _address(flat)
        for path, (_, held) in self._maps.items():
            offset = start - _address(held)
            if 0 <= offset <= held.nbytes - flat.nbytes:
                return FilePart(path, offset, flat.nbytes)
        return None

    def _written(self, content: memoryview) -> FilePart:
        try:
            path, offset = self._room(content.nbytes)
            with path.open("r+b", buffering=0) as file:
                file.seek(offset)
                left = content
                while left.nbytes:
                    left = left[file.write(left[: 1 << 30]) or 0 :]
        except OSError as error:
            raise ModelError(
                f"{self.folder}: cannot be written ({error.strerror}); make room, or choose another --output"
            ) from error
        return FilePart(path, offset, content.nbytes)

    def _room(self, nbytes: int) -> tuple[Path, int]:
        """Return a file and the offset in it from which so many bytes are free."""
        path, used, size = self._segment or (self.folder, 0, 0)
        if used + nbytes > size:
            path, used, size = self.folder / f"{os.getpid()}-{next(self._numbers)}", 0, max(_SEGMENT, nbytes)
            with path.open("xb") as file:
                file.truncate(size)  # no room is taken before it is written
        self._segment = path, used + -(-nbytes // _ALIGNED) * _ALIGNED, size
        return path, used

    def _mapped(self, part: FilePart) -> npt.NDArray[np.uint8]:
        if part.path not in self._maps:
            with part.path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._maps[part.path] = mapped, np.frombuffer(mapped, np.uint8)
        return self._maps[part.path][1][part.offset : part.offset + part.length]


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
