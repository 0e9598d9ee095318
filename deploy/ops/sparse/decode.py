"""Decoding of sparse weights in standard operators, shared by the bodies of the sparse operators and by lowering.

Every node's output has a shape that follows from its inputs' shapes: ONNX Runtime folds only such nodes at load
(since 1.26 or so: NonZero and Compress of constants stay and run at every call). All operators used are of the
same form in operator sets 11 to 25.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

_INT32, _INT64, _BOOL = int(ir.DataType.INT32), int(ir.DataType.INT64), int(ir.DataType.BOOL)
_END = np.array([2**31 - 1], dtype=np.int64)


class Maker(Protocol):
    """Makes nodes: the body of a function, or a graph."""

    def op(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        """Add a node of one output."""
        ...

    def constant(self, array: npt.NDArray[np.generic]) -> ir.Value:
        """Add a constant."""
        ...


@dataclass(frozen=True, eq=False)
class Packed:
    """A stored sparse matrix `[rows, cols]` as values of a graph.

    `values` are finite, at least one, and already of the element type that the decoded weights shall have; `cols` is
    int64 `[1]`.
    """

    values: ir.Value
    cols: ir.Value


@dataclass(frozen=True, eq=False)
class PackedBitmap(Packed):
    """`bits` is uint8 `[rows, ceil(cols / 8)]`, LSB first."""

    bits: ir.Value

    def dense(self, make: Maker) -> ir.Value:
        """Add nodes for the matrix `[rows, cols]`."""
        weights, sizes = self._expand(make, None), make.op("Shape", [self.bits])
        rows = make.op("Slice", [sizes, _ints(make, 0), _ints(make, 1)])
        return self._cut(make, weights, rows)

    def product(self, make: Maker, x: ir.Value) -> ir.Value:
        """Add nodes for `x [..., cols] @ weight^T`: `[..., rows]`.

        Not the weight is cut to its columns, nor transposed, which would copy it at load: `x`, which is small, is
        padded, and Gemm reads the weight as it is.
        """
        weight, sizes = self._expand(make, None), make.op("Shape", [self.bits])
        rows, byte_count = (make.op("Slice", [sizes, _ints(make, at), _ints(make, at + 1)]) for at in (0, 1))
        weight = make.op("Reshape", [weight, make.op("Concat", [rows, _ints(make, -1)], axis=0)])
        pad = make.op("Sub", [make.op("Mul", [byte_count, _ints(make, 8)]), self.cols])
        flat = make.op("Reshape", [x, make.op("Concat", [_ints(make, -1), self.cols], axis=0)])
        flat = make.op("Pad", [flat, make.op("Concat", [_ints(make, 0, 0, 0), pad], axis=0)])
        leading = make.op("Slice", [make.op("Shape", [x]), _ints(make, 0), _ints(make, -1)])
        shape = make.op("Concat", [leading, rows], axis=0)
        return make.op("Reshape", [make.op("Gemm", [flat, weight], transB=1), shape])

    def rows(self, make: Maker, ids: ir.Value) -> ir.Value:
        """Add nodes for the rows `ids [...]` alone: `[..., cols]`."""
        return self._cut(make, self._expand(make, ids), make.op("Shape", [ids]))

    def _expand(self, make: Maker, ids: ir.Value | None) -> ir.Value:
        """Weights `[..., bytes, 8]` of all rows or some.

        The place of a value is the number of bits before it: those of earlier bytes (`before`) and those of its own
        byte (a table by byte). A bit of 0 leads behind the values instead, where there are as many zeros, so that
        one Add finds all places.
        """
        stored = make.op("Cast", [self.bits], to=_INT32)
        table = _bits_of_bytes(make)
        running = make.op("CumSum", [table, _scalar(make, 1)])
        count = make.op("Shape", [self.values])
        within = make.op("Sub", [running, make.constant(np.array(1, dtype=np.int32))])
        is_set = make.op("Cast", [table], to=_BOOL)
        table = make.op("Where", [is_set, within, make.op("Cast", [count], to=_INT32)])
        totals = make.op("Gather", [running, make.constant(np.array(7, dtype=np.int64))], axis=1)
        per_byte = make.op("Reshape", [make.op("Gather", [totals, stored], axis=0), _ints(make, -1)])
        before = make.op("CumSum", [per_byte, _scalar(make, 0)], exclusive=1)
        column = make.op("Concat", [make.op("Shape", [self.bits]), _ints(make, 1)], axis=0)
        before = make.op("Reshape", [before, column])
        if ids is not None:
            stored, before = (make.op("Gather", [table_, ids], axis=0) for table_ in (stored, before))
        places = make.op("Add", [make.op("Gather", [table, stored], axis=0), before])
        zeros = _zeros_like(make, self.values, make.op("Add", [count, _ints(make, 1)]))
        return make.op("Gather", [make.op("Concat", [self.values, zeros], axis=0), places], axis=0)

    def _cut(self, make: Maker, weights: ir.Value, leading: ir.Value) -> ir.Value:
        byte_count = make.op("Slice", [make.op("Shape", [self.bits]), _ints(make, 1), _ints(make, 2)])
        width = make.op("Mul", [byte_count, _ints(make, 8)])  # -1 would not do where there are no rows
        padded = make.op("Reshape", [weights, make.op("Concat", [leading, width], axis=0)])
        return make.op("Slice", [padded, _ints(make, 0), self.cols, _ints(make, -1)])


@dataclass(frozen=True, eq=False)
class PackedCsr(Packed):
    """`columns [count]` and `row_pointers [rows + 1]`, unsigned."""

    columns: ir.Value
    row_pointers: ir.Value

    def dense(self, make: Maker, *, transposed: bool = False) -> ir.Value:
        """Add nodes for the matrix `[rows, cols]`, or for its transpose."""
        ends = self._ends(make)
        rows = make.op("Reshape", [self._row_of_values(make, ends), _ints(make, -1, 1)])
        cols = make.op("Cast", [make.op("Reshape", [self.columns, _ints(make, -1, 1)])], to=_INT32)
        order = [cols, rows] if transposed else [rows, cols]
        places = make.op("Cast", [make.op("Concat", order, axis=1)], to=_INT64)
        sizes = [make.op("Shape", [ends]), self.cols]
        shape = make.op("Concat", sizes[::-1] if transposed else sizes, axis=0)
        return make.op("ScatterND", [_zeros_like(make, self.values, shape), places, self.values])

    def rows(self, make: Maker, ids: ir.Value) -> ir.Value:
        """Add nodes for the rows `ids [...]` alone: `[..., cols]`.

        As many values as the longest row has are read for each row; those behind its end go to columns behind the
        last one, each to its own, and are cut off.
        """
        ends = self._ends(make)
        starts = make.op("Sub", [ends, self._lengths(make, ends)])
        longest = make.op("ReduceMax", [self._lengths(make, ends)], keepdims=0)
        width = make.op("Reshape", [make.op("Cast", [longest], to=_INT64), _ints(make, 1)])
        offsets = count_up(make, width)
        leading = make.op("Shape", [ids])
        column = make.op("Concat", [leading, _ints(make, 1)], axis=0)
        first, end = (make.op("Reshape", [make.op("Gather", [table, ids], axis=0), column]) for table in (starts, ends))
        places = make.op("Add", [first, offsets])
        inside = make.op("Less", [places, end])
        places = make.op("Where", [inside, places, make.constant(np.array(0, dtype=np.int32))])
        outside = make.op("Add", [make.op("Cast", [self.cols], to=_INT32), offsets])
        columns = make.op("Cast", [make.op("Gather", [self.columns, places], axis=0)], to=_INT32)
        columns = make.op("Where", [inside, columns, outside])
        weights = make.op("Gather", [self.values, places], axis=0)
        shape = make.op("Concat", [leading, make.op("Add", [self.cols, width])], axis=0)
        padded = make.op("ScatterElements", [_zeros_like(make, self.values, shape), columns, weights], axis=-1)
        return make.op("Slice", [padded, _ints(make, 0), self.cols, _ints(make, -1)])

    def _ends(self, make: Maker) -> ir.Value:
        pointers = make.op("Cast", [self.row_pointers], to=_INT32)
        return make.op("Slice", [pointers, _ints(make, 1), make.constant(_END)])

    def _lengths(self, make: Maker, ends: ir.Value) -> ir.Value:
        pointers = make.op("Cast", [self.row_pointers], to=_INT32)
        return make.op("Sub", [ends, make.op("Slice", [pointers, _ints(make, 0), _ints(make, -1)])])

    def _row_of_values(self, make: Maker, ends: ir.Value) -> ir.Value:
        """The row of each value, int32 `[count]`.

        Values and ends of rows make one sequence of events, in which the end of row `r` stands at `ends[r] + r`.
        The ends before a value are its row; its place among the values is its place among the events less that.
        """
        row_count, count = make.op("Shape", [ends]), make.op("Shape", [self.values])
        one = make.constant(np.array(1, dtype=np.int32))
        events = make.op("Add", [row_count, count])
        zeros = filled(make, events, 0)
        marks = make.op("Add", [ends, count_up(make, row_count)])
        is_end = make.op("ScatterElements", [zeros, marks, filled(make, row_count, 1)], axis=0)
        row = make.op("CumSum", [is_end, _scalar(make, 0)])
        place = make.op("Sub", [count_up(make, events), row])
        behind = make.op("Add", [row, make.op("Sub", [make.op("Cast", [count], to=_INT32), one])])
        target = make.op("Where", [make.op("Cast", [is_end], to=_BOOL), behind, place])
        rows = make.op("ScatterElements", [zeros, target, row], axis=0)
        return make.op("Slice", [rows, _ints(make, 0), count])


def cols_attribute(make: Maker) -> ir.Value:
    """The function's own attribute `cols`, as int64 `[1]`."""
    cols = make.op("Constant", [], value_int=ir.RefAttr("value_int", "cols", ir.AttributeType.INT))
    return make.op("Reshape", [cols, _ints(make, 1)])


def _bits_of_bytes(make: Maker) -> ir.Value:
    """The table int32 `[256, 8]` of the bits of each byte, LSB first."""
    numbers = make.constant(np.arange(256, dtype=np.uint8)[:, None])
    shifted = make.op("BitShift", [numbers, make.constant(np.arange(8, dtype=np.uint8))], direction="RIGHT")
    return make.op("Mod", [make.op("Cast", [shifted], to=_INT32), make.constant(np.array(2, dtype=np.int32))])


def _zeros_like(make: Maker, values: ir.Value, shape: ir.Value) -> ir.Value:
    """Zeros of the given shape, in the element type of `values`, of which there is at least one, and finite."""
    first = make.op("Slice", [values, _ints(make, 0), _ints(make, 1)])
    return make.op("Expand", [make.op("Sub", [first, first]), shape])


def filled(make: Maker, shape: ir.Value, number: int) -> ir.Value:
    """Add nodes for an int32 tensor of the given shape, all `number`."""
    return make.op("ConstantOfShape", [shape], value=ir.tensor(np.array([number], dtype=np.int32)))


def count_up(make: Maker, length: ir.Value) -> ir.Value:
    """Add nodes for 0, 1, 2, ...: int32 `[length]`."""
    return make.op("CumSum", [filled(make, length, 1), _scalar(make, 0)], exclusive=1)


def _ints(make: Maker, *numbers: int) -> ir.Value:
    return make.constant(np.array(numbers, dtype=np.int64))


def _scalar(make: Maker, number: int) -> ir.Value:
    return make.constant(np.array(number, dtype=np.int64))
