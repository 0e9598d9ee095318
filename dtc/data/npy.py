"""Reading `.npy` and `.npz` files from untrusted sources: no pickle, and every size is checked before its use."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from dtc.errors import DataError
from dtc.forms import AnyArray

_DEFLATE_LIMIT = 1032
"""Upper limit of the compression ratio of DEFLATE (zlib's technical notes)."""
_SMALL = 64 << 20
_LARGEST_RATIO = 200
"""Real samples, images of mostly zeros too, shrink some ten times; what shrinks so much is made to fill the memory."""


def read_npz(path: Path) -> dict[str, AnyArray]:
    """Read every array of an `.npz` into memory.

    Raises:
        DataError: Not an `.npz`, truncated, larger unpacked than a quarter of this machine's memory or than 200 times
            the file (and 64 MB), or an array in it is
            not made of plain numbers or not as long as its header says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            _check_archive(path, members)
            return {info.filename.removesuffix(".npy"): _read_member(path, archive, info) for info in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{path}: not an .npz file, or a damaged one ({error}); write it again with np.savez"
        ) from error


def map_npy(path: Path) -> AnyArray:
    """Memory-map a `.npy` file, read only.

    Raises:
        DataError: Not a `.npy`, truncated, or not made of plain numbers.
    """
    try:
        with path.open("rb") as file:
            _check_header(str(path), file, path.stat().st_size)
        mapped: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a .npy file, or a damaged one ({error}); write it again with np.save") from error
    return mapped


def _check_archive(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if not members:
        raise DataError(f"{path}: holds no arrays; write it with np.savez(path, input_name=array, ...)")
    if len({info.filename for info in members}) < len(members):
        raise DataError(f"{path}: two arrays have the same name; the file is damaged")
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in members):
        raise DataError(f"{path}: packed in a way that NumPy does not write; write it again with np.savez")
    # Members may overlap in a hostile archive, so that one compressed block unpacks many times: a zip bomb.
    if sum(info.compress_size for info in members) > path.stat().st_size:
        raise DataError(f"{path}: its arrays claim more bytes than the file has; the file is damaged")
    # The claimed size is later allocated at once; 1 KiB of slack lets tiny members with their headers pass.
    for info in members:
        if info.file_size > info.compress_size * _DEFLATE_LIMIT + 1024:
            raise DataError(f"{path}: array {info.filename!r} cannot be as large as it claims; the file is damaged")
    _check_unpacked(path, sum(info.file_size for info in members))


def _check_unpacked(path: Path, total: int) -> None:
    """Stop before anything is unpacked that would fill the memory, or that was packed to do so."""
    limit, packed = _limit(), path.stat().st_size
    if total > limit:
        raise DataError(
            f"{path}: {total / 1e9:.1f} GB unpacked, more than a quarter of this machine's memory; "
            "save each array with np.save and give the folder, which is memory-mapped"
        )
    if total > max(_SMALL, packed * _LARGEST_RATIO):
        raise DataError(
            f"{path}: {packed / 1e6:.1f} MB that unpack to {total / 1e6:.0f} MB, over {_LARGEST_RATIO} times that; "
            "if that is meant, write it with np.savez"
        )


def _read_member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> AnyArray:
    name = f"{path}, array {info.filename.removesuffix('.npy')!r}"
    with archive.open(info) as file:
        shape, fortran, dtype = _check_header(name, file, info.file_size)
        # Allocated only now that header and directory agree; filled 16 MiB at a time, without a second copy.
        flat = np.empty(math.prod(shape), dtype)
        view = memoryview(flat.view(np.uint8)) if flat.size else memoryview(b"")  # type: ignore[arg-type]
        filled = 0
        while filled < len(view):
            got = file.read(min(1 << 24, len(view) - filled))
            if not got:
                raise DataError(f"{name}: ends after {filled} of {len(view)} bytes; the file is truncated")
            view[filled : filled + len(got)] = got
            filled += len(got)
    return flat.reshape(shape, order="F" if fortran else "C")


def _check_header(name: str, file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Return shape, Fortran order and dtype of an array whose header agrees with its `size` bytes."""
    try:
        version = np.lib.format.read_magic(file)
    except ValueError as error:
        raise DataError(f"{name}: not an array ({str(error).splitlines()[0]})") from error
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"{name}: an array of named fields or of an unknown format; save plain numbers")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings(action="ignore"):  # of headers that Python 2 wrote
            shape, fortran, dtype = read(file)
    except Exception as error:  # the header is read as Python, which raises what its parser does
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{name}: not an array, or one with a damaged header ({reason})") from error
    if dtype.hasobject:
        raise DataError(f"{name}: holds Python objects (pickle), which is refused; save plain numbers")
    if dtype.kind not in "biuf":
        raise DataError(f"{name}: of type {dtype}, not numbers; save integers, floats or booleans")
    # Behind the header there is the data and nothing else: float32 [2, 3] is 24 bytes. `prod` cannot overflow, being
    # Python's own integers.
    held = size - file.tell()
    needed = math.prod(shape) * dtype.itemsize
    if any(extent < 0 for extent in shape) or needed != held:
        raise DataError(f"{name}: declares {needed} bytes but holds {held}; the file is damaged")
    return shape, fortran, dtype


def _limit() -> int:
    """Return a quarter of this machine's memory, in bytes; without limit where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, ValueError, OSError):
        return 1 << 62
