"""Sums of what lies before each number of a list: where a decoder finds the values of a sparse matrix.

CumSum is one node. OpenVINO does not compute it when it loads a model, and wants constant weights for LSTM and GRU: in
front of those, sums of what a triangle of ones leaves stand for it. All of it is int32: a Cast takes a runtime long to
begin with, and MNN has products of integers wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from dtc.graph import Site
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.readers import wants_constant

_SIDE = 32
"""Numbers that a triangle sums up: what it leaves of them is so many times as large as they are."""

SumsBefore: TypeAlias = Callable[[GraphBuilder, ir.Value, int], ir.Value]
"""Puts nodes into a graph that return the sum of the numbers before each, int32 `[count]`, of int32 `[count]`; it is
told how many numbers there are."""


def sums_in_front_of(site: Site, *, portable: bool) -> SumsBefore:
    """Return what sums up where a site's weight is decoded; portable: for other runtimes than ONNX Runtime, too."""
    return folded_sums_before if wants_constant(site, portable=portable) else sums_before


def sums_before(e: GraphBuilder, numbers: ir.Value, _count: int) -> ir.Value:
    """Return the sums by CumSum."""
    return e.op("CumSum", [numbers, e.constant(0)], exclusive=1)


def folded_sums_before(e: GraphBuilder, numbers: ir.Value, count: int) -> ir.Value:
    """Return the same by nodes that every runtime computes at load."""
    # Rows 1 2 | 3 4: within them 0 1 | 0 3, their sums 3 7; sums before these, 0 3, in the same way. 0 1 | 3 6.
    side = count if count <= _SIDE**2 // 4 else _SIDE
    rows = -(-count // side)
    if rows * side != count:
        zeros = e.op("ConstantOfShape", [e.constant([rows * side - count])], value=ir.tensor(np.zeros(1, np.int32)))
        numbers = e.op("Concat", [numbers, zeros], axis=0)
    column = e.op("Reshape", [numbers, e.constant([rows, 1, side])])
    before = _before(e, column, side)
    if rows > 1:
        above = folded_sums_before(e, e.total(column, [1, 2], keepdims=0), rows)
        before = e.op("Add", [before, e.op("Reshape", [above, e.constant([rows, 1])])])
    flat = e.op("Reshape", [before, e.constant([-1])])
    return flat if rows * side == count else e.slice(flat, 0, count)


def sums_before_in_rows(e: GraphBuilder, rows: ir.Value, side: int) -> ir.Value:
    """Return for each number of int32 `[rows, side]` the sum of those before it in its row."""
    return _before(e, e.op("Reshape", [rows, e.constant([-1, 1, side])]), side)


def _before(e: GraphBuilder, column: ir.Value, side: int) -> ir.Value:
    """Return the same, `[rows, side]`, of int32 `[rows, 1, side]`."""
    # [rows, 1, side] by ones below the diagonal [side, side]: 1 2 becomes 0 0 | 1 0, whose sums are 0 and 1.
    return e.total(e.op("Mul", [column, _below(e, side)]), [2], keepdims=0)


def _below(e: GraphBuilder, side: int) -> ir.Value:
    """Return ones below the diagonal and zeros elsewhere, int32 `[side, side]`."""

    def make(front: GraphBuilder) -> ir.Value:
        zero, one = (front.constant(np.int32(number)) for number in (0, 1))
        numbers = front.op("Range", [zero, front.constant(np.int32(side)), one])
        column = front.op("Reshape", [numbers, front.constant([side, 1])])
        return front.op("Where", [front.op("Less", [numbers, column]), one, zero])

    return e.once(("below", side), make)
