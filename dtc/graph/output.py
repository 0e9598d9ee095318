"""Where a model is written to: what may be replaced there, and the moment in which it is."""

from __future__ import annotations

import filecmp
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dtc.errors import ModelError
from dtc.locking import try_lock

_DATA = re.compile(r"\.dtc-[0-9a-f]{16}\.data\Z")
_CHUNK = 1 << 22
_LONGEST_BASE = 200
"""Bytes of a model's name in the name of its data: most file systems end at 255."""

_KINDS = (
    (stat.S_ISLNK, "a symbolic link; name the file that it leads to"),
    (stat.S_ISDIR, "a folder; name a file in it"),
    (stat.S_ISFIFO, "a pipe; name a file"),
    (stat.S_ISSOCK, "a socket; name a file"),
    (stat.S_ISCHR, "a device; name a file"),
    (stat.S_ISBLK, "a device; name a file"),
)


def data_name(model: str, digest: str) -> str:
    """Return what the external data of a model is called, by its content: a name that only dtc gives."""
    base = model.encode()[:_LONGEST_BASE].decode(errors="ignore")
    return f"{base}.dtc-{digest}.data"


def check_output(path: Path, *, force: bool) -> None:
    """Stop before any work where a model cannot be written to `path`.

    Raises:
        ModelError: Its folder is missing or cannot be written, its name is too long or not UTF-8, or something is there
            that may not be replaced: a file without `force`, and whatever is no regular file.
    """
    require_utf8(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ModelError(f"{path.parent}: no such folder for the output")
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    except OSError as error:
        told = f"{str(path)[:100]}..." if len(str(path)) > 120 else path
        raise ModelError(f"{told}: cannot be written ({error.strerror}); choose another --output") from error
    if found is not None:
        refused = next((words for is_one, words in _KINDS if is_one(found.st_mode)), None)
        if refused is not None:
            raise ModelError(f"{path}: is {refused} (--output)")
        if not force:
            raise ModelError(f"{path}: exists already; choose another --output or add --force")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ModelError(f"{path}: cannot be written, its folder is not writable; choose another --output")


def require_utf8(path: Path) -> None:
    """Stop at a file name that is not UTF-8: neither ONNX Runtime nor a report can name that file.

    Raises:
        ModelError: It is not.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ModelError(f"{path}: its name is not UTF-8; choose another") from error


def check_space(path: Path, needed: int) -> None:
    """Stop before any work where a disk has less room than the `needed` bytes.

    Raises:
        ModelError: The disk of `path` has less room.
    """
    free = shutil.disk_usage(path.absolute().parent).free
    if free < needed:
        raise ModelError(
            f"{path}: cannot be written, its disk has {free / 1e6:.1f} MB free and the work needs {needed / 1e6:.1f}; "
            "make room, or choose another --output"
        )


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Hold an output for this process alone.

    Raises:
        ModelError: Another process is writing it, or its folder cannot be written.
    """
    name = hashlib.sha256(path.name.encode()).hexdigest()[:16]
    lock = path.absolute().with_name(f".dtc-{name}.lock")
    try:
        file = lock.open("ab")
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}); choose another --output") from error
    with file:
        # A lock file that was removed between the two is no lock any more: its owner has just ended.
        if not try_lock(file) or not _is_at(file.fileno(), lock):
            raise ModelError(f"{path}: another process is writing it; wait for it, or choose another --output")
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def publish(source: Path, target: Path, *, force: bool = False, keep: tuple[Path, ...] = ()) -> None:
    """Put a written model, and its external data if it has some, in the place of `target`.

    First the data, whose name no other file has, then the model by one rename: whoever reads `target` finds the older
    model with its data, or the new one with its own. Data that no model names any more is then removed, but for the
    files in `keep`.

    Raises:
        ModelError: There is a file at `target` and `force` is not given, or something that is no regular file.
        OSError: It cannot be written.
    """
    check_output(target, force=force)
    for data in source.parent.iterdir():
        if _is_data(data, source.name):
            _place_data(data, target.with_name(data.name))
    if force:
        source.replace(target)
    else:
        _place_new(source, target)
    _remove_stale(target, keep)


def _place_data(data: Path, place: Path) -> None:
    """Move data to its place; a file of that name there is the same data, or somebody's own."""
    if not place.exists():
        data.replace(place)
    elif not filecmp.cmp(data, place, shallow=False):
        raise ModelError(f"{place}: is in the way, and not what dtc wrote; move it, or choose another --output")


def _place_new(source: Path, target: Path) -> None:
    """Give a file its name, but only if nothing else came to have it meanwhile."""
    try:
        os.link(source, target)
    except FileExistsError as error:
        raise ModelError(f"{target}: exists already; choose another --output or add --force") from error
    except OSError:  # a file system without links
        source.replace(target)
    else:
        source.unlink()


def _remove_stale(target: Path, keep: tuple[Path, ...]) -> None:
    """Remove the data of earlier models at `target`, also of one whose writing was cut short.

    A copy of an older model, under any name in the same folder, keeps its data.
    """
    folder = target.absolute().parent
    kept = {path.resolve() for path in keep}
    candidates = [file for file in folder.iterdir() if _is_data(file, target.name) and file.resolve() not in kept]
    if not candidates:
        return
    others = (file for file in folder.iterdir() if file.is_file() and not _DATA.search(file.name))
    models = sorted(others, key=lambda file: file.name != target.name)  # its own first, which most often says it all
    for file in candidates:
        if not any(_names(model, file.name) for model in models):
            file.unlink(missing_ok=True)


def _names(model: Path, data: str) -> bool:
    """True if a file holds the name of another, as a model does that of its data; or if it cannot be told."""
    try:
        with model.open("rb") as file:
            # A few megabytes at a time, with the end of those before: a neighbour may be larger than memory.
            wanted, end = data.encode(), b""
            while chunk := file.read(_CHUNK):
                if wanted in end + chunk:
                    return True
                end = chunk[-len(wanted) :]
            return False
    except OSError:
        return True


def _is_data(file: Path, model: str) -> bool:
    return bool(_DATA.search(file.name)) and file.name == data_name(model, file.name[-21:-5])


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
