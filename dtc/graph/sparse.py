"""Sparse initializers and the sparse values of Constant nodes, made dense: onnx-ir would drop or refuse them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper

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


def make_dense(graph: onnx.GraphProto) -> None:
    """Replace the sparse tensors of a graph by dense ones, in place.

    Raises:
        ModelError: One of them is damaged, too large when dense, or lies in external data.
    """
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse, f"sparse initializer {sparse.values.name!r}"))
    graph.ClearField("sparse_initializer")
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("sparse_tensor"):
                where = node.name or (node.output[0] if node.output else "")
                dense = _dense(attribute.sparse_tensor, f"sparse value of Constant {where!r}")
                attribute.Clear()
                attribute.name, attribute.type = "value", onnx.AttributeProto.TENSOR
                attribute.t.CopyFrom(dense)


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
