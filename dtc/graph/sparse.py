"""Sparse initializers and the sparse values of Constant nodes: dense to every reader, and written as they came.

onnx-ir has no word for them. So a message is given dense tensors under a mark before it is read, and given the sparse
ones again after it was written.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper
import onnx_ir as ir

from dtc.errors import ModelError

LARGEST = 1 << 28
"""Elements of a sparse weight that is made dense: a few bytes of a file may declare any number of them."""

_PLAIN = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.INT8,
        onnx.TensorProto.INT32,
        onnx.TensorProto.INT64,
        onnx.TensorProto.UINT8,
        onnx.TensorProto.BOOL,
    }
)


@dataclass(frozen=True)
class SparseConstant:
    """A sparse tensor of a file.

    Attributes:
        tensor: As it stands there.
        in_node: Whether a Constant node holds it: ONNX's checker takes no sparse initializer for a tensor.
    """

    tensor: onnx.SparseTensorProto
    in_node: bool


class SparseTensor(ir.Tensor[npt.NDArray[Any]]):
    """A tensor that a file stores sparse.

    Attributes:
        stored: As the file has it.
    """

    def __init__(self, dense: npt.NDArray[np.generic], stored: SparseConstant) -> None:
        super().__init__(dense, name=stored.tensor.values.name)
        self.stored = stored


def tensor_bytes(tensor: ir.TensorProtocol) -> int:
    """Return the bytes that a tensor's numbers take in a file."""
    return int(tensor.stored.tensor.ByteSize()) if isinstance(tensor, SparseTensor) else tensor.nbytes


Marked = dict[str, SparseConstant]
"""Sparse tensors by the mark that a dense one in their place has."""


def make_dense(graph: onnx.GraphProto | onnx.FunctionProto) -> Marked:
    """Replace the sparse tensors of a graph by dense ones, in place; return them by the marks of these.

    Raises:
        ModelError: One of them is damaged, too large when dense, or lies in external data.
    """
    marked: Marked = {}

    def take(sparse: onnx.SparseTensorProto, told: str, *, in_node: bool) -> onnx.TensorProto:
        dense, mark = _dense(sparse, told), uuid.uuid4().hex
        marked[mark] = SparseConstant(onnx.SparseTensorProto(), in_node)
        marked[mark].tensor.CopyFrom(sparse)
        dense.doc_string = mark
        return dense

    if isinstance(graph, onnx.GraphProto):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(take(sparse, f"sparse initializer {sparse.values.name!r}", in_node=False))
        graph.ClearField("sparse_initializer")
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("sparse_tensor"):
                where = node.name or (node.output[0] if node.output else "")
                dense = take(attribute.sparse_tensor, f"sparse value of Constant {where!r}", in_node=True)
                attribute.Clear()
                attribute.name, attribute.type = "value", onnx.AttributeProto.TENSOR
                attribute.t.CopyFrom(dense)
    return marked


def remember(values: Iterable[ir.Value], nodes: Iterable[ir.Node], marked: Marked) -> None:
    """Give initializers and Constant nodes that were read dense, under a mark, the tensors of which they are."""
    for value in values:
        if value.const_value is not None and value.const_value.doc_string in marked:
            value.const_value = _sparse(value.const_value, marked)
    for node in nodes:
        attribute = node.attributes.get("value")
        if node.op_type != "Constant" or attribute is None or attribute.type is not ir.AttributeType.TENSOR:
            continue
        if not attribute.is_ref() and attribute.as_tensor().doc_string in marked:
            node.attributes["value"] = ir.AttrTensor("value", _sparse(attribute.as_tensor(), marked))


def _sparse(tensor: ir.TensorProtocol, marked: Marked) -> SparseTensor:
    return SparseTensor(tensor.numpy(), marked[str(tensor.doc_string)])


@contextmanager
def marking(tensors: Iterable[ir.TensorProtocol]) -> Iterator[Marked]:
    """Mark the sparse ones among tensors while a model is written; yield them by their marks."""
    found = {uuid.uuid4().hex: tensor for tensor in tensors if isinstance(tensor, SparseTensor)}
    for mark, tensor in found.items():
        tensor.doc_string = mark
    try:
        yield {str(tensor.doc_string): tensor.stored for tensor in found.values()}
    finally:
        for tensor in found.values():
            tensor.doc_string = None


def make_sparse(graph: onnx.GraphProto | onnx.FunctionProto, marked: Marked) -> None:
    """Put the sparse tensors of a graph in the place of the dense ones that have their marks, in place."""
    if isinstance(graph, onnx.GraphProto):
        dense = [tensor for tensor in graph.initializer if tensor.doc_string in marked]
        for tensor in dense:
            stored = marked[tensor.doc_string]
            if stored.in_node:
                graph.node.insert(0, onnx.NodeProto(op_type="Constant", output=[tensor.name]))
                attribute = graph.node[0].attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR)
                sparse = attribute.sparse_tensor
            else:
                sparse = graph.sparse_initializer.add()
            sparse.CopyFrom(stored.tensor)
            sparse.values.name = tensor.name
            graph.initializer.remove(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.doc_string in marked:
                held = marked[attribute.t.doc_string].tensor
                attribute.Clear()
                attribute.name, attribute.type = "sparse_value", onnx.AttributeProto.SPARSE_TENSOR
                attribute.sparse_tensor.CopyFrom(held)


def _dense(sparse: onnx.SparseTensorProto, told: str) -> onnx.TensorProto:
    dims = tuple(sparse.dims)
    if any(extent < 0 for extent in dims) or math.prod(dims) > LARGEST:
        raise ModelError(f"{told} has the shape {list(dims)}, which is damaged or too large to be made dense")
    if onnx.TensorProto.EXTERNAL in (sparse.values.data_location, sparse.indices.data_location):
        raise ModelError(f"{told} lies in external data, which dtc does not read; store it in the file")
    if sparse.values.data_type not in _PLAIN:
        raise ModelError(f"{told} has a type that dtc does not make dense; store it as a dense tensor")
    try:
        values = onnx.numpy_helper.to_array(sparse.values).ravel()
        places = _places(onnx.numpy_helper.to_array(sparse.indices), dims)
        array = np.zeros(math.prod(dims), values.dtype)
        array[places] = values
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise ModelError(f"{told} is damaged ({str(error).splitlines()[0][:100]}); export it again") from error
    return onnx.numpy_helper.from_array(array.reshape(dims), name=sparse.values.name)


def _places(indices: npt.NDArray[np.generic], dims: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return where the values lie in the flat array: indices are `[count]` of that, or `[count, rank]`."""
    places = indices.astype(np.int64)
    if indices.dtype.kind not in "iu" or (places < 0).any():
        raise ValueError("an index that is none")
    if places.ndim == 2:
        places = np.asarray(np.ravel_multi_index(tuple(places.T), dims), np.int64)
    return places
