"""Libraries of custom operators that a user names: every session knows them, in processes that are started too.

They stand in an environment variable while they are in use, so that a worker or a probe has them without being told.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dtc.errors import LibraryError, UsageError, one_line

_VARIABLE = "DTC_CUSTOM_OPS"


@contextmanager
def custom_ops(libraries: Iterable[str | Path]) -> Iterator[None]:
    """Give the operators of the libraries to every session that is opened meanwhile, here and in child processes.

    Raises:
        UsageError: A library is not there.
    """
    paths = [Path(library).absolute() for library in libraries]
    for path in paths:
        if not path.is_file():
            raise UsageError(f"--custom-ops {path}: no such file; name the library that registers the operators")
    before = os.environ.get(_VARIABLE)
    if paths:
        os.environ[_VARIABLE] = os.pathsep.join(map(str, (*in_use(), *paths)))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before


def in_use() -> tuple[Path, ...]:
    """Return the libraries in use."""
    return tuple(Path(path) for path in os.environ.get(_VARIABLE, "").split(os.pathsep) if path)


def register_custom_ops(options: Any, *, but: Path | None = None) -> None:
    """Give a session's options the operators of the libraries in use, `but` one that they have already.

    Raises:
        LibraryError: ONNX Runtime does not load a library.
    """
    for path in dict.fromkeys(in_use()):
        if but is not None and path.resolve() == but.resolve():
            continue
        try:
            options.register_custom_ops_library(str(path))
        except Exception as error:  # ONNX Runtime's errors have no other common base
            raise LibraryError(f"--custom-ops {path}: ONNX Runtime does not load it: {one_line(error)}") from error
