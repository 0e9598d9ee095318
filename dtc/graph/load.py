"""Reading a model file from an untrusted source: every size and path in the file is checked before its use."""

from __future__ import annotations

import logging
import math
import mmap
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from dtc.errors import ModelError, one_line
from dtc.graph.attributes import check_attributes
from dtc.graph.file_tensor import LARGE, FileTensor
from dtc.graph.output import require_utf8
from dtc.graph.scopes import separate_names
from dtc.graph.serialization import from_proto
from dtc.graph.walk import all_graphs, all_nodes, replace_tensors
from dtc.graph.wire import Skeleton, skeleton_of
from dtc.storage import FilePart

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
    """Load an ONNX file; large tensors, and all in external data, stay in their files until they are read.

    Raises:
        ModelError: The file is missing, has no name in UTF-8, is not an ONNX model, is truncated, or names external
            data that is missing, too short, or outside the model's own folder.
    """
    path = Path(path)
    require_utf8(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    mark = uuid.uuid4().hex
    skeleton = _skeleton(path, mark)
    model = _read(path, skeleton.message)
    if not model.graph.outputs:
        raise ModelError(f"{path}: not an ONNX model, or a truncated one (its graph has no outputs)")
    try:
        _check_tensors(model, path, skeleton.places)
    except _DAMAGE as error:
        raise ModelError(f"{path}: holds a damaged tensor ({_first_line(error)}); export it again") from error
    _check_inputs(model, path)
    check_attributes(model, path)
    separate_names(model)
    return model


def _skeleton(path: Path, mark: str) -> Skeleton:
    """Return what a model file holds beside its large tensors."""
    try:
        if path.stat().st_size < LARGE:
            return Skeleton(path.read_bytes())
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return skeleton_of(content, LARGE, mark)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def _read(path: Path, message: bytes) -> ir.Model:
    try:
        proto = onnx.ModelProto.FromString(message)
        with warnings.catch_warnings(action="ignore"):  # likewise
            model = from_proto(proto)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except (DecodeError, *_DAMAGE) as error:
        raise ModelError(
            f"{path}: not an ONNX model, or a truncated one ({_first_line(error)}); export it again"
        ) from error
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


def _check_tensors(model: ir.Model, path: Path, places: Mapping[str, tuple[int, int]]) -> None:
    """Check all tensors; make `FileTensor`s of those in files, in the model's own at `places`."""
    for graph in all_graphs(model):
        for value in graph.initializers.values():
            if value.const_value is None:
                raise ModelError(f"{path}: initializer {value.name!r} has no data")
    found = _Files(path, places)

    def checked(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        if isinstance(tensor, ir.ExternalTensor):
            return found.tensor(tensor)
        _check_size(tensor, path)
        return tensor

    replace_tensors(model, checked)


class _Files:
    """The files in which a model's tensors lie; every place is checked before anything is read there."""

    def __init__(self, path: Path, places: Mapping[str, tuple[int, int]]) -> None:
        self._path, self._places = path, places
        self._folder = path.resolve().parent
        self._known: dict[Path, FilePart] = {}

    def tensor(self, tensor: ir.ExternalTensor) -> ir.TensorProtocol:
        """Return a tensor that reads the numbers of this one.

        Raises:
            ModelError: They are not there.
        """
        location = str(tensor.location)
        if location in self._places:
            return self._own(tensor, *self._places[location])
        self._check_external(tensor)
        if not FileTensor.holds(tensor.dtype):
            return tensor
        part = self._part(self._path.parent / location, tensor.offset or 0, tensor.nbytes)
        return FileTensor.in_place_of(tensor, part)

    def _own(self, tensor: ir.ExternalTensor, offset: int, length: int) -> FileTensor:
        """Return a tensor of the model's own file."""
        if min(tensor.shape.numpy(), default=1) < 0 or length != tensor.nbytes:
            raise ModelError(_not_held(self._path, tensor, length * 8 // tensor.dtype.bitwidth))
        return FileTensor.in_place_of(tensor, self._part(self._path, offset, length))

    def _part(self, file: Path, offset: int, length: int) -> FilePart:
        # A file of a thousand tensors is looked at once, and has to be that one whenever it is read.
        if file not in self._known:
            self._known[file] = FilePart.of(file, 0, 0)
        return replace(self._known[file], offset=offset, length=length)

    def _check_external(self, tensor: ir.ExternalTensor) -> None:
        path = self._path
        if (tensor.offset or 0) < 0 or min(tensor.shape.numpy(), default=1) < 0:
            raise ModelError(f"{path}: tensor {tensor.name!r} has a negative offset or size; the file is damaged")
        # Resolved first, so that neither `..` nor a link leads out of the folder.
        location = (self._folder / tensor.location).resolve()
        if not location.is_relative_to(self._folder):
            raise ModelError(
                f"{path}: tensor {tensor.name!r} points to {str(tensor.location)!r}, outside the model's folder; "
                "refused, move the data beside the model"
            )
        if not location.is_file():
            raise ModelError(f"{path}: external data file {str(tensor.location)!r} is missing; put it beside the model")
        if location.stat().st_nlink > 1:
            raise ModelError(
                f"{path}: external data file {str(tensor.location)!r} has another name (a hard link), and may be a "
                "file that is none of the model's; refused, copy the data beside the model"
            )
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
        slack = 8 // min(tensor.dtype.bitwidth or 8, 8) - 1  # numbers of a part of a byte may be padded to a whole one
    else:
        held = max(len(getattr(proto, field)) for field in _TYPED_FIELDS)
        slack = held if (tensor.dtype.bitwidth or 8) < 8 else 0  # int32_data holds two of them a number
    if min(proto.dims, default=1) < 0 or not held - slack <= declared <= held + slack:
        raise ModelError(_not_held(path, tensor, held))


def _not_held(path: Path, tensor: ir.TensorProtocol, held: int) -> str:
    shape = list(tensor.shape.numpy())
    return f"{path}: tensor {tensor.name!r} declares the shape {shape} but holds {held} elements; the file is damaged"


def _first_line(error: BaseException) -> str:
    """Return the reason behind an error: the errors of onnx-ir repeat the message itself, however long."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error, 160)
