"""Writing a model file, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from dtc.errors import ModelError, one_line
from dtc.graph.bare import bare_initializers
from dtc.graph.ir_version import lowest_ir_version
from dtc.graph.output import check_output, data_name, publish
from dtc.graph.serialization import to_proto
from dtc.graph.streaming import DataFile, write_streaming
from dtc.graph.walk import all_tensors, replaced_tensors
from dtc.scratch import scratch_folder

EXTERNAL_DATA_ABOVE = 1_900_000_000
"""Bytes; one protobuf message cannot hold more than 2 GiB."""
SMALLEST_APART = 256
"""Bytes of a tensor from which it goes into external data."""


def save_model(model: ir.Model, path: str | Path, *, force: bool = False) -> tuple[Path, ...]:
    """Write `model` to `path`, and return its files.

    It is written beside its place first, then renamed, so that no half-written file is ever seen.
    Weights of more than 2 GB go into a file beside it that is named after the model and what it holds; up to there the
    file is whole in itself, also where `model` came with external data.

    Raises:
        ModelError: The file exists and `force` is not given, or its folder cannot be written, or the model cannot.
    """
    path = Path(path)
    check_output(path, force=force)
    model.ir_version = lowest_ir_version(model)
    try:
        # Written in a folder beside the target, on the same disk, where a rename is atomic.
        with scratch_folder(path.absolute().parent) as folder, bare_initializers(model):
            written = _write(model, folder / path.name)
            publish(written[0], path, force=force)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror})") from error
    return tuple(path.with_name(file.name) for file in written)


def model_message(model: ir.Model, name: str) -> bytes:
    """Return what `save_model` writes of a model of at most 2 GB into one file, and leave the model as it is.

    Args:
        model: The model, whose tensors are all in memory meanwhile.
        name: What an error calls it.

    Raises:
        ModelError: It cannot be written.
    """
    version = model.ir_version
    model.ir_version = lowest_ir_version(model)
    try:
        with bare_initializers(model), _damage_told(name):
            return to_proto(model).SerializeToString()
    finally:
        model.ir_version = version


def _write(model: ir.Model, path: Path) -> tuple[Path, ...]:
    """Write a model, and return its files: the model's own first."""
    with _damage_told(path.name):
        if _tensor_bytes(model) > EXTERNAL_DATA_ABOVE:
            return path, _write_apart(model, path)
        write_streaming(model, path)
        return (path,)


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    """Turn what is raised over a model that cannot be written into one line about it."""
    try:
        yield
    except (ir.serde.SerdeError, ValueError, TypeError, OverflowError) as error:
        reason = one_line(error.__cause__ or error, 160)
        raise ModelError(f"{name}: the model cannot be written ({reason}); it is damaged") from error


def _write_apart(model: ir.Model, path: Path) -> Path:
    """Write the weights into a file of their own, which is returned, and the model beside it.

    The file is named by its content, `big.onnx.dtc-0123456789abcdef.data`: so it takes the place of no other file, and
    an older output keeps its own until the new model stands in its place.
    """
    draft = path.parent / "weights"
    with draft.open("wb") as file:
        data = DataFile(file)
        places = {id(tensor): data.add(tensor) for tensor in all_tensors(model) if tensor.nbytes >= SMALLEST_APART}
    written = draft.rename(path.with_name(data_name(path.name, data.digest)))

    def apart(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        offset = places.get(id(tensor))
        return tensor if offset is None else _reference(tensor, written.name, offset)

    with replaced_tensors(model, apart):
        write_streaming(model, path)
    return written


def _reference(tensor: ir.TensorProtocol, file: str, offset: int) -> ir.ExternalTensor:
    shape = ir.Shape(tensor.shape.numpy())
    return ir.ExternalTensor(file, offset, tensor.nbytes, tensor.dtype, shape=shape, name=tensor.name or "")


def _tensor_bytes(model: ir.Model) -> int:
    return sum(tensor.nbytes for tensor in all_tensors(model))
