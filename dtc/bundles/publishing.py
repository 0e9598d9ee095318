"""A bundle's folder: what may be replaced there, and the moment in which it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dtc.bundles.document import DESCRIPTION
from dtc.errors import UsageError
from dtc.graph import only_writer
from dtc.graph.output import require_utf8
from dtc.scratch import scratch_folder


@contextmanager
def published(output: Path, *, force: bool) -> Iterator[Path]:
    """Give a new folder to write a bundle into, which then comes to be at `output`, whole or not at all.

    Raises:
        UsageError: There is something at `output` that may not be replaced: another bundle without `force`, and
            whatever is no bundle. Or its place cannot be written.
        ModelError: Another process is writing there, or its name is not UTF-8.
    """
    _refuse(output, force=force)
    try:
        with only_writer(output), scratch_folder(output.absolute().parent) as scratch:
            folder = scratch / "bundle"
            folder.mkdir()
            yield folder
            # Again: what came to be there meanwhile is somebody's own.
            _refuse(output, force=force)
            _put(folder, output, aside=scratch / "older")
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror}); choose another --output") from error


def _put(folder: Path, output: Path, *, aside: Path) -> None:
    """Put a folder in the place of another, which is back there where that fails."""
    if output.exists():
        output.rename(aside)
    try:
        folder.rename(output)
    except OSError:
        if aside.exists():
            aside.rename(output)
        raise


def _refuse(output: Path, *, force: bool) -> None:
    require_utf8(output)
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output.parent}: no such folder for the output")
    if output.resolve() == Path.cwd():
        raise UsageError(f"{output}: is the folder that dtc runs in, and cannot be replaced; choose another --output")
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise UsageError(f"{output}: is no folder; choose another --output")
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not (output / DESCRIPTION).is_file():
        raise UsageError(f"{output}: holds something else than a bundle of dtc; choose another --output")
    if not force:
        raise UsageError(f"{output}: exists already; choose another --output or add --force")
