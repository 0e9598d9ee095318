"""Small numbers stored in few bits each, and the nodes that make them numbers, or rows of a table, again.

The fields of `dtc.forms.index_fields`, from operator set 7 on. What folds at load stays small: a look-up of bytes gives
several weights at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops.codebook.decode import OPSET
from dtc.forms.index_fields import pack_indices
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.fields import decode_indices
from dtc.passes.lower.opset7 import store_numbers


def store_as_numbers(
    e: GraphBuilder, numbers: npt.NDArray[Any], bits: int, name: str, dtype: ir.DataType = ir.DataType.INT32
) -> ir.Value:
    """Store numbers `[count]` under `name` in `bits` bits each; return nodes for them, in whatever shape."""
    if e.opset < OPSET:
        found = store_numbers(e, name, numbers, bits)
        return found if dtype == ir.DataType.INT32 else e.op("Cast", [found], to=dtype)
    packed = e.initializer(name, pack_indices(numbers.reshape(1, -1), bits))
    found = decode_indices(e, packed, bits, 1, numbers.size, dtype=ir.DataType.INT32)
    return found if dtype == ir.DataType.INT32 else e.op("Cast", [found], to=dtype)


def store_as_matrix(e: GraphBuilder, numbers: npt.NDArray[Any], bits: int, name: str, *, lean: bool) -> ir.Value:
    """Store a matrix of numbers under `name` in `bits` bits each, up to 8; return nodes for it, int32.

    Lean: it gets its shape while a number is a byte, which takes less memory and a node more. From operator set 12 on.
    """
    packed = e.initializer(name, pack_indices(numbers.reshape(1, -1), bits))
    dtype = ir.DataType.UINT8 if lean else ir.DataType.INT32
    found = decode_indices(e, packed, bits, 1, numbers.size, dtype=dtype)
    shaped = e.op("Reshape", [found, e.constant(numbers.shape)])
    return e.op("Cast", [shaped], to=ir.DataType.INT32) if lean else shaped


def store_as_rows(
    e: GraphBuilder, numbers: npt.NDArray[Any], bits: int, name: str, table: ir.Value, block: int = 1
) -> ir.Value:
    """Store numbers `[count]` under `name` in `bits` bits each; return their rows of a table `[numbers, block]`.

    The elements are those of `[count, block]`, in whatever shape.
    """
    if e.opset < OPSET:
        return e.op("Gather", [table, store_numbers(e, name, numbers, bits)])
    packed = e.initializer(name, pack_indices(numbers.reshape(1, -1), bits))
    return decode_indices(e, packed, bits, 1, numbers.size, table, block)


def store_as_floats(e: GraphBuilder, numbers: npt.NDArray[Any], name: str) -> ir.Value:
    """Store numbers under `name` in their own type; return them as float32."""
    stored = e.initializer(name, numbers)
    return stored if numbers.dtype == np.float32 else e.op("Cast", [stored], to=ir.DataType.FLOAT)
