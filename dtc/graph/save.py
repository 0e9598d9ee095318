"""Writing a model file, whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
import onnx_ir as ir

from dtc.errors import ModelError
from dtc.graph.bare import bare_initializers
from dtc.graph.ir_version import lowest_ir_version
from dtc.graph.output import check_output, data_name, publish
from dtc.graph.serialization import to_proto
from dtc.graph.walk import all_graphs, all_nodes, all_tensors
from dtc.scratch import scratch_folder

EXTERNAL_DATA_ABOVE = 1_900_000_000
"""Bytes; one protobuf message cannot hold more than 2 GiB."""


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


def _write(model: ir.Model, path: Path) -> tuple[Path, ...]:
    """Write a model, and return its files: the model's own first."""
    try:
        if _tensor_bytes(model) > EXTERNAL_DATA_ABOVE:
            return path, _write_apart(model, path)
        onnx.save(to_proto(_self_contained(model)), path)
    except (ir.serde.SerdeError, ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:160]
        raise ModelError(f"{path.name}: the model cannot be written ({reason}); it is damaged") from error
    return (path,)


def _write_apart(model: ir.Model, path: Path) -> Path:
    """Write the weights into a file of their own, which is returned, and the model beside it.

    The file is named by its content, `big.onnx.dtc-0123456789abcdef.data`: so it takes the place of no other file, and
    an older output keeps its own until the new model stands in its place.
    """
    values = [value for graph in all_graphs(model) for value in graph.initializers.values()]
    tensors = [value.const_value for value in values]
    draft = path.parent / "weights"
    try:
        ir.external_data.unload_from_model(model, path.parent, draft.name, size_threshold_bytes=256)
        data = draft.rename(path.with_name(data_name(path.name, _digest(draft))))
        for value in values:
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = _at(value.const_value, data)
        onnx.save(to_proto(_with_own_constants(model)), path)
    finally:
        for value, tensor in zip(values, tensors, strict=True):
            value.const_value = tensor
    return data


def _at(tensor: ir.ExternalTensor, file: Path) -> ir.ExternalTensor:
    """Return a tensor in another file, at the same place within it."""
    return ir.ExternalTensor(
        file.name,
        tensor.offset,
        tensor.length,
        tensor.dtype,
        shape=tensor.shape,
        name=tensor.name or "",
        base_dir=file.parent,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _self_contained(model: ir.Model) -> ir.Model:
    """Return a model without references to external data, which would be looked for beside the new file."""
    model = _with_own_constants(model)
    if not any(isinstance(tensor, ir.ExternalTensor) for tensor in all_tensors(model)):
        return model
    return ir.external_data.load_to_model(model.clone())


def _with_own_constants(model: ir.Model) -> ir.Model:
    """Return a model whose nodes hold the tensors of their attributes themselves."""
    if not any(_apart(attribute) for node in all_nodes(model) for attribute in node.attributes.values()):
        return model
    copy = model.clone()
    for node in all_nodes(copy):
        for attribute in [each for each in node.attributes.values() if _apart(each)]:
            tensor = attribute.as_tensor()
            held = ir.tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
            node.attributes[attribute.name] = ir.AttrTensor(attribute.name, held)
    return copy


def _apart(attribute: ir.Attr) -> bool:
    if attribute.type is not ir.AttributeType.TENSOR or attribute.is_ref():
        return False
    return isinstance(attribute.as_tensor(), ir.ExternalTensor)


def _tensor_bytes(model: ir.Model) -> int:
    return sum(tensor.nbytes for tensor in all_tensors(model))
