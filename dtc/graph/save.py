"""Writing a model file, whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir

from dtc.errors import ModelError
from dtc.graph.bare import bare_initializers
from dtc.graph.opset import opset_of
from dtc.graph.walk import all_graphs

PORTABLE_IR_VERSION = 10
"""An IR version that runtimes in the field read; most refuse the newest one, the default of the package `onnx`."""

EXTERNAL_DATA_ABOVE = 1_900_000_000
"""Bytes; one protobuf message cannot hold more than 2 GiB."""


def save_model(model: ir.Model, path: str | Path, *, force: bool = False) -> None:
    """Write `model` to `path`: first beside it, then renamed, so that no half-written file is ever seen.

    Weights of more than 2 GB go to `<name>.data` beside it; up to there the file is whole in itself, also where `model`
    came with external data.

    Raises:
        ModelError: The file exists and `force` is not given, or its folder cannot be written.
    """
    path = Path(path)
    if path.exists() and not force:
        raise ModelError(f"{path}: exists already; choose another --output or add --force")
    if not path.parent.is_dir():
        raise ModelError(f"{path.parent}: no such folder for the output")
    model.ir_version = _ir_version(model)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder, bare_initializers(model):
            written = Path(folder) / path.name
            # Both files are written in a folder beside the target, on the same disk, where a rename is atomic.
            if _tensor_bytes(model) > EXTERNAL_DATA_ABOVE:
                ir.save(model, written, external_data=f"{path.name}.data")
            else:
                ir.save(_self_contained(model), written)
            move_model(written, path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror})") from error


def move_model(source: Path, target: Path) -> None:
    """Move the model file `source`, with its external data if there is any, to `target`, of the same file name."""
    external = source.with_name(f"{source.name}.data")
    # The data first: a model file is never there without the weights that it names.
    if external.exists():
        external.replace(target.with_name(external.name))
    source.replace(target)


def _self_contained(model: ir.Model) -> ir.Model:
    """Return a model without references to external data, which would be looked for beside the new file."""
    tensors = (value.const_value for graph in all_graphs(model) for value in graph.initializers.values())
    if not any(isinstance(tensor, ir.ExternalTensor) for tensor in tensors):
        return model
    return ir.external_data.load_to_model(model.clone())


def _ir_version(model: ir.Model) -> int:
    return PORTABLE_IR_VERSION if opset_of(model) <= 21 else max(model.ir_version, PORTABLE_IR_VERSION)


def _tensor_bytes(model: ir.Model) -> int:
    tensors = (value.const_value for graph in all_graphs(model) for value in graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)
