"""Sums of what lies before each number of a list: where a decoder finds the values of a sparse matrix.

CumSum is one node. OpenVINO does not compute it when it loads a model, and wants constant weights for LSTM and GRU: in
front of those, two products with a triangle of ones stand for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from dtc.graph import Site
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.readers import wants_constant

_EXACT_IN_FLOAT = 1 << 24
"""Below it every whole number is a float."""


SumsBefore: TypeAlias = Callable[[GraphBuilder, ir.Value, int, int], ir.Value]
"""Puts nodes into a graph that return the sum of the numbers before each, int32 `[count]`, of int32 `[count]`; it is
told how many numbers there are, and what no sum is larger than."""


def sums_in_front_of(site: Site) -> SumsBefore:
    """Return what sums up where a site's weight is decoded."""
    if wants_constant(site):
        return folded_sums_before
    return lambda e, numbers, _count, _most: e.op("CumSum", [numbers, e.constant(0)], exclusive=1)


def folded_sums_before(e: GraphBuilder, numbers: ir.Value, count: int, most: int) -> ir.Value:
    """Return the same by nodes that every runtime computes at load.

    The numbers fill a square row by row: the sum before one is that of its row, and those of the rows before.
    """
    # 1 2 | 3 4 as rows: x U with U = (1 1 | 0 1) is 1 3 | 3 7, sums up to each; totals 3 7. Before a row: L totals with
    # L = (0 0 | 1 0), 0 3. Sums before each: 1 3 | 3 7 plus 0 | 3 minus the numbers, 0 1 | 3 6.
    dtype = ir.DataType.FLOAT if most < _EXACT_IN_FLOAT else ir.DataType.DOUBLE
    side = 1 << max(0, math.ceil(math.log2(max(count, 1)) / 2))
    zero = ir.tensor(np.zeros(1, dtype=dtype.numpy()))
    floats = e.op("Cast", [numbers], to=dtype)
    if count < side * side:
        rest = e.op("ConstantOfShape", [e.constant([side * side - count])], value=zero)
        floats = e.op("Concat", [floats, rest], axis=0)
    square = e.op("Reshape", [floats, e.constant([side, side])])
    upto = e.op("MatMul", [square, triangle(e, side, dtype)])
    above = e.op("MatMul", [_below(e, side, dtype), e.op("Gather", [upto, e.constant([side - 1])], axis=1)])
    before = e.op("Add", [e.op("Sub", [upto, square]), above])
    flat = e.op("Cast", [e.op("Reshape", [before, e.constant([-1])])], to=ir.DataType.INT32)
    return flat if count == side * side else e.slice(flat, 0, count)


def triangle(e: GraphBuilder, side: int, dtype: ir.DataType) -> ir.Value:
    """Return ones on and above the diagonal, zeros below it, `[side, side]`."""

    def make(front: GraphBuilder) -> ir.Value:
        numbers = front.op("Range", [front.constant(np.int32(number)) for number in (0, side, 1)])
        column = front.op("Reshape", [numbers, front.constant([side, 1])])
        after = front.op("Add", [numbers, front.constant(np.int32(1))])
        return front.op("Cast", [front.op("Less", [column, after])], to=dtype)

    return e.once(("triangle", side, dtype), make)


def _below(e: GraphBuilder, side: int, dtype: ir.DataType) -> ir.Value:
    """Return ones below the diagonal alone, `[side, side]`."""
    one = np.ones(1, dtype=dtype.numpy())
    return e.once(
        ("below", side, dtype), lambda front: front.op("Sub", [front.constant(one), triangle(front, side, dtype)])
    )
