"""A mistake in the middle of the work is laid at the door of a damaged model, if the model is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from dtc.errors import DtcError, ModelError, one_line
from dtc.session import session


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what goes wrong on a model that nobody could run into one line that names the file.

    The readers of a graph believe it: that an attribute `perm` is a permutation, that names are there. To look at it
    all beforehand would be to write ONNX's checker again, so this and ONNX Runtime are asked after the fact. On a
    model that both take, the error goes on: it is a mistake of dtc.

    Raises:
        ModelError: Something went wrong, and the model is damaged; or the memory is exhausted.
    """
    try:
        yield
    except DtcError:
        raise
    except MemoryError as error:
        raise ModelError(f"{path}: needs more memory than there is; use a machine with more") from error
    except Exception as error:
        told = _refusal(path)
        if told is None:
            raise
        raise ModelError(f"{path}: the model is damaged: {told}") from error


def _refusal(path: Path) -> str | None:
    """Return why ONNX's checker or ONNX Runtime refuses a model file; None if both take it."""
    try:
        onnx.checker.check_model(str(path))
        session(path, native=False)
    except ModelError as error:
        return str(error).removeprefix(f"{path}: ")
    except Exception as error:  # noqa: BLE001 - the checker raises what protobuf and C++ do
        return one_line(error, 200)
    return None
