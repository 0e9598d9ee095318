"""Decoding of sparse weights in standard operators, shared by the bodies of the sparse operators and by lowering.

Every node's output has a shape that follows from its inputs' shapes: ONNX Runtime folds only such nodes at load
(since 1.26 or so: NonZero and Compress of constants stay and run at every call; other runtimes do not know such a
node's shape either). All operators used are of the same form in operator sets 11 to 25; functions have integer
attributes from 12 on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops.binary.decode import byte_bits
from dtc.graph.builder import Builder, FunctionBuilder

OPSET = 12

_INT32, _INT64, _BOOL = int(ir.DataType.INT32), int(ir.DataType.INT64), int(ir.DataType.BOOL)
_END = np.array([2**31 - 1], dtype=np.int64)


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

    def dense(self, build: Builder) -> ir.Value:
        """Add nodes for the matrix `[rows, cols]`."""
        weights, sizes = self._expand(build, None), build.op("Shape", [self.bits])
        rows = build.slice(sizes, 0, 1)
        return self._cut(build, weights, rows)

    def product(self, build: Builder, x: ir.Value) -> ir.Value:
        """Add nodes for `x [..., cols] @ weight^T`: `[..., rows]`.

        Not the weight is cut to its columns, nor transposed, which would copy it at load: `x`, which is small, is
        padded, and Gemm reads the weight as it is.
        """
        # weight [rows, bytes, 8] -> [rows, bytes * 8]; x [..., cols] -> [n, cols] -> padded [n, bytes * 8].
        # Their Gemm is [n, rows] -> [..., rows]. The padded columns of the weight are zeros: their bits are 0.
        weight, sizes = self._expand(build, None), build.op("Shape", [self.bits])
        rows, byte_count = (build.slice(sizes, at, at + 1) for at in (0, 1))
        weight = build.op("Reshape", [weight, build.op("Concat", [rows, build.constant([-1])], axis=0)])
        pad = build.op("Sub", [build.op("Mul", [byte_count, build.constant([8])]), self.cols])
        flat = build.op("Reshape", [x, build.op("Concat", [build.constant([-1]), self.cols], axis=0)])
        flat = build.op("Pad", [flat, build.op("Concat", [build.constant([0, 0, 0]), pad], axis=0)])
        leading = build.slice(build.op("Shape", [x]), 0, -1)
        shape = build.op("Concat", [leading, rows], axis=0)
        return build.op("Reshape", [build.op("Gemm", [flat, weight], transB=1), shape])

    def rows(self, build: Builder, ids: ir.Value) -> ir.Value:
        """Add nodes for the rows `ids [...]` alone: `[..., cols]`."""
        return self._cut(build, self._expand(build, ids), build.op("Shape", [ids]))

    def _expand(self, build: Builder, ids: ir.Value | None) -> ir.Value:
        """Return the weights `[..., bytes, 8]` of all rows, or of the rows `ids`.

        The place of a value is the number of bits before it: those of earlier bytes (`before`) and those of its own
        byte (a table by byte). A bit of 0 leads behind the values instead, where there are as many zeros, so that
        one Add finds all places.
        """
        # Values a b c, bits 0b101 and 0b010 (bytes of one row each; three columns):
        # running  [256, 8]: bits of a byte up to and with each place; 0b101 -> 1 1 2 2 2 2 2 2
        # table    [256, 8]: place of each set bit within its byte, else `count`; 0b101 -> 0 3 1 3 3 3 3 3
        # before   [bytes]: bits in earlier bytes, 0 2
        # places   table + before: 0 3 1 3 3 3 3 3 and 5 2 5 5 5 5 5 5
        # The values with count + 1 zeros behind them are a b c 0 0 0 0, so that 3 and 5 are zeros too: a 0 b and 0 c 0.
        stored = build.op("Cast", [self.bits], to=_INT32)
        table = byte_bits(build)
        running = build.op("CumSum", [table, build.constant(1)])
        count = build.op("Shape", [self.values])
        within = build.op("Sub", [running, build.constant(np.array(1, dtype=np.int32))])
        is_set = build.op("Cast", [table], to=_BOOL)
        table = build.op("Where", [is_set, within, build.op("Cast", [count], to=_INT32)])
        # per_byte: how many bits each stored byte has, in the order of the rows.
        totals = build.op("Gather", [running, build.constant(7)], axis=1)
        per_byte = build.op("Reshape", [build.op("Gather", [totals, stored], axis=0), build.constant([-1])])
        before = build.op("CumSum", [per_byte, build.constant(0)], exclusive=1)
        column = build.op("Concat", [build.op("Shape", [self.bits]), build.constant([1])], axis=0)
        before = build.op("Reshape", [before, column])
        if ids is not None:
            stored, before = (build.op("Gather", [table_, ids], axis=0) for table_ in (stored, before))
        places = build.op("Add", [build.op("Gather", [table, stored], axis=0), before])
        zeros = _zeros_like(build, self.values, build.op("Add", [count, build.constant([1])]))
        return build.op("Gather", [build.op("Concat", [self.values, zeros], axis=0), places], axis=0)

    def _cut(self, build: Builder, weights: ir.Value, leading: ir.Value) -> ir.Value:
        byte_count = build.slice(build.op("Shape", [self.bits]), 1, 2)
        width = build.op("Mul", [byte_count, build.constant([8])])  # -1 would not do where there are no rows
        padded = build.op("Reshape", [weights, build.op("Concat", [leading, width], axis=0)])
        return build.op("Slice", [padded, build.constant([0]), self.cols, build.constant([-1])])


@dataclass(frozen=True, eq=False)
class PackedCsr(Packed):
    """`columns [count]` and `row_pointers [rows + 1]`, unsigned."""

    columns: ir.Value
    row_pointers: ir.Value

    def dense(self, build: Builder, *, transposed: bool = False) -> ir.Value:
        """Add nodes for the matrix `[rows, cols]`, or for its transpose."""
        # Values a b c, columns 1 0 2, row pointers 0 1 3 -> ends 1 3, row of each value 0 1 1
        # -> places (0, 1), (1, 0), (1, 2), int64 [count, 2], scattered into zeros: [[0, a, 0], [b, 0, c]].
        ends = self._ends(build)
        rows = build.op("Reshape", [self._row_of_values(build, ends), build.constant([-1, 1])])
        cols = build.op("Cast", [build.op("Reshape", [self.columns, build.constant([-1, 1])])], to=_INT32)
        order = [cols, rows] if transposed else [rows, cols]
        places = build.op("Cast", [build.op("Concat", order, axis=1)], to=_INT64)
        sizes = [build.op("Shape", [ends]), self.cols]
        shape = build.op("Concat", sizes[::-1] if transposed else sizes, axis=0)
        return build.op("ScatterND", [_zeros_like(build, self.values, shape), places, self.values])

    def rows(self, build: Builder, ids: ir.Value) -> ir.Value:
        """Add nodes for the rows `ids [...]` alone: `[..., cols]`.

        As many values as the longest row has are read for each row; those behind its end go to columns behind the
        last one, each to its own, and are cut off.
        """
        # Row 0 of the same matrix, whose longest row has 2 values: places 0 1 in `values`, inside 1 0; the second is
        # behind the row's end and reads value 0 instead, which exists. columns 1 and cols + 1 = 4: scattered into 3 + 2
        # zeros -> 0 a 0 | 0 a -> cut to 0 a 0. Places outside the row have columns of their own, because a scatter with
        # equal indices has no defined result.
        ends = self._ends(build)
        starts = build.op("Sub", [ends, self._lengths(build, ends)])
        longest = build.op("ReduceMax", [self._lengths(build, ends)], keepdims=0)
        width = build.op("Reshape", [build.op("Cast", [longest], to=_INT64), build.constant([1])])
        offsets = count_up(build, width)
        leading = build.op("Shape", [ids])
        column = build.op("Concat", [leading, build.constant([1])], axis=0)
        first, end = (
            build.op("Reshape", [build.op("Gather", [table, ids], axis=0), column]) for table in (starts, ends)
        )
        places = build.op("Add", [first, offsets])
        inside = build.op("Less", [places, end])
        places = build.op("Where", [inside, places, build.constant(np.array(0, dtype=np.int32))])
        outside = build.op("Add", [build.op("Cast", [self.cols], to=_INT32), offsets])
        columns = build.op("Cast", [build.op("Gather", [self.columns, places], axis=0)], to=_INT32)
        columns = build.op("Where", [inside, columns, outside])
        weights = build.op("Gather", [self.values, places], axis=0)
        shape = build.op("Concat", [leading, build.op("Add", [self.cols, width])], axis=0)
        padded = build.op("ScatterElements", [_zeros_like(build, self.values, shape), columns, weights], axis=-1)
        return build.op("Slice", [padded, build.constant([0]), self.cols, build.constant([-1])])

    def _ends(self, build: Builder) -> ir.Value:
        pointers = build.op("Cast", [self.row_pointers], to=_INT32)
        return build.op("Slice", [pointers, build.constant([1]), build.constant(_END)])

    def _lengths(self, build: Builder, ends: ir.Value) -> ir.Value:
        pointers = build.op("Cast", [self.row_pointers], to=_INT32)
        return build.op("Sub", [ends, build.slice(pointers, 0, -1)])

    def _row_of_values(self, build: Builder, ends: ir.Value) -> ir.Value:
        """Return the row of each value, int32 `[count]`.

        Values and ends of rows make one sequence of events, in which the end of row `r` stands at `ends[r] + r`.
        The ends before a value are its row; its place among the values is its place among the events less that.
        """
        # Ends 1 3, two rows, three values a b c, five events: a | b c | with the ends at 1 + 0 and 3 + 1.
        # is_end 0 1 0 0 1, row (ends up to and with each event) 0 1 1 1 2, place of a value = event - row: 0 . 1 2 .
        # Ends are written behind the values, row + count - 1 = 3 and 4, and cut off: rows 0 1 1.
        row_count, count = build.op("Shape", [ends]), build.op("Shape", [self.values])
        one = build.constant(np.array(1, dtype=np.int32))
        events = build.op("Add", [row_count, count])
        zeros = filled(build, events, 0)
        marks = build.op("Add", [ends, count_up(build, row_count)])
        is_end = build.op("ScatterElements", [zeros, marks, filled(build, row_count, 1)], axis=0)
        row = build.op("CumSum", [is_end, build.constant(0)])
        place = build.op("Sub", [count_up(build, events), row])
        behind = build.op("Add", [row, build.op("Sub", [build.op("Cast", [count], to=_INT32), one])])
        target = build.op("Where", [build.op("Cast", [is_end], to=_BOOL), behind, place])
        rows = build.op("ScatterElements", [zeros, target, row], axis=0)
        return build.op("Slice", [rows, build.constant([0]), count])


def cols_attribute(build: FunctionBuilder) -> ir.Value:
    """Return the function's own attribute `cols`, int64 `[1]`."""
    return build.op("Reshape", [build.integer("cols"), build.constant([1])])


def _zeros_like(build: Builder, values: ir.Value, shape: ir.Value) -> ir.Value:
    """Return zeros of the given shape in the element type of `values`, which holds at least one, finite number."""
    # x - x is 0 of x's type, whatever the type: a ConstantOfShape has its type fixed when the body is written.
    first = build.slice(values, 0, 1)
    return build.op("Expand", [build.op("Sub", [first, first]), shape])


def filled(build: Builder, shape: ir.Value, number: int) -> ir.Value:
    """Add nodes for an int32 tensor of the given shape, all `number`."""
    return build.op("ConstantOfShape", [shape], value=ir.tensor(np.array([number], dtype=np.int32)))


def count_up(build: Builder, length: ir.Value) -> ir.Value:
    """Add nodes for 0, 1, 2, ...: int32 `[length]`."""
    return build.op("CumSum", [filled(build, length, 1), build.constant(0)], exclusive=1)
