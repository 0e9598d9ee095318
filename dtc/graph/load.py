"""Reading a model file from an untrusted source: every size and path in the file is checked before its use."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from dtc.errors import ModelError
from dtc.graph.attributes import check_attributes
from dtc.graph.output import require_utf8
from dtc.graph.scopes import separate_names
from dtc.graph.serialization import from_proto
from dtc.graph.walk import all_graphs, all_nodes, all_tensors

logging.getLogger("onnx_ir").setLevel(logging.CRITICAL)  # what it warns of is refused here, in one line

_NOT_PLAIN = frozenset({ir.DataType.STRING, ir.DataType.COMPLEX64, ir.DataType.COMPLEX128})
_DAMAGE = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    OSError,
)
"""What onnx and onnx-ir raise of a message that is none: SerdeError is a RuntimeError."""
_TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def load_model(path: str | Path) -> ir.Model:
    """Load an ONNX file; tensors in external data stay memory-mapped.

    Raises:
        ModelError: The file is missing, has no name in UTF-8, is not an ONNX model, is truncated, or names external
            data that is missing, too short, or outside the model's own folder.
    """
    path = Path(path)
    require_utf8(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    model = _read(path)
    if not model.graph.outputs:
        raise ModelError(f"{path}: not an ONNX model, or a truncated one (its graph has no outputs)")
    try:
        _check_tensors(model, path)
    except _DAMAGE as error:
        raise ModelError(f"{path}: holds a damaged tensor ({_first_line(error)}); export it again") from error
    _check_inputs(model, path)
    check_attributes(model, path)
    separate_names(model)
    return model


def _read(path: Path) -> ir.Model:
    try:
        proto = onnx.load(path, format="protobuf", load_external_data=False)
        with warnings.catch_warnings(action="ignore"):  # likewise
            model = from_proto(proto)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except (DecodeError, *_DAMAGE) as error:
        raise ModelError(
            f"{path}: not an ONNX model, or a truncated one ({_first_line(error)}); export it again"
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model


def _check_inputs(model: ir.Model, path: Path) -> None:
    """Stop at a value that is read and that nothing gives: other readers of the graph would take it for an input."""
    for declared in (*model.graph.inputs, *model.graph.outputs):
        if declared.dtype == ir.DataType.UNDEFINED:
            raise ModelError(f"{path}: {declared.name!r} is declared without the type of its elements; export it again")
    for node in all_nodes(model):
        called = node.name or node.op_type
        if any(each.configuration is None for each in node.device_configurations):
            raise ModelError(f"{path}: node {called!r} is for a device that has no name; export it again")
        for value in node.inputs:
            if value is None or value.producer() is not None or value.is_graph_input() or value.is_initializer():
                continue
            raise ModelError(f"{path}: node {called!r} reads {value.name!r}, which nothing gives")


def _check_tensors(model: ir.Model, path: Path) -> None:
    folder = path.resolve().parent
    for tensor in _tensors(model, path):
        if isinstance(tensor, ir.ExternalTensor):
            _check_external(tensor, path, folder)
        else:
            _check_size(tensor, path)


def _tensors(model: ir.Model, path: Path) -> Iterator[ir.TensorProtocol]:
    for graph in all_graphs(model):
        for value in graph.initializers.values():
            if value.const_value is None:
                raise ModelError(f"{path}: initializer {value.name!r} has no data")
    return all_tensors(model)


def _check_external(tensor: ir.ExternalTensor, path: Path, folder: Path) -> None:
    if (tensor.offset or 0) < 0 or min(tensor.shape.numpy(), default=1) < 0:
        raise ModelError(f"{path}: tensor {tensor.name!r} has a negative offset or size; the file is damaged")
    # Resolved first, so that neither `..` nor a link leads out of the folder.
    location = (folder / tensor.location).resolve()
    if not location.is_relative_to(folder):
        raise ModelError(
            f"{path}: tensor {tensor.name!r} points to {str(tensor.location)!r}, outside the model's folder; "
            "refused, move the data beside the model"
        )
    if not location.is_file():
        raise ModelError(f"{path}: external data file {str(tensor.location)!r} is missing; put it beside the model")
    if tensor.length is not None and tensor.length != tensor.nbytes:
        raise ModelError(
            f"{path}: tensor {tensor.name!r} of {tensor.nbytes} bytes has {tensor.length} bytes of external data; "
            "the file is damaged"
        )
    needed = (tensor.offset or 0) + tensor.nbytes
    if location.stat().st_size < needed:
        raise ModelError(
            f"{path}: external data file {str(tensor.location)!r} is too short for tensor {tensor.name!r} "
            f"({needed} bytes needed); it is truncated"
        )


def _check_size(tensor: ir.TensorProtocol, path: Path) -> None:
    """Refuse a tensor whose declared shape its data does not fill, before anything is allocated by that shape."""
    if not isinstance(tensor, ir.TensorProtoTensor) or tensor.dtype in _NOT_PLAIN:
        return
    proto = tensor.raw
    declared = math.prod(proto.dims)
    # 1. Raw bytes: float32 [2, 3] needs 24 of them. 2. A typed field, with one entry a number.
    if proto.raw_data or not any(getattr(proto, field) for field in _TYPED_FIELDS):
        held = len(proto.raw_data) * 8 // (tensor.dtype.bitwidth or 8)
        slack = 1 if (tensor.dtype.bitwidth or 8) < 8 else 0  # an odd number of half bytes is padded
    else:
        held = max(len(getattr(proto, field)) for field in _TYPED_FIELDS)
        slack = held if (tensor.dtype.bitwidth or 8) < 8 else 0  # int32_data holds two of them a number
    if min(proto.dims, default=1) < 0 or not held - slack <= declared <= held + slack:
        raise ModelError(
            f"{path}: tensor {tensor.name!r} declares the shape {list(proto.dims)} but holds {held} elements; "
            "the file is damaged"
        )


def _first_line(error: BaseException) -> str:
    """Return the reason behind an error: the errors of onnx-ir repeat the message itself, however long."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:160] or type(error).__name__
