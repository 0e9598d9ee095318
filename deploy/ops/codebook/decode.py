"""Decoding a codebook with standard operators, in a function's body or in a graph.

A byte of packed indices, with what belongs to the same indices in the other fields, is a number: one look-up in a table
of all such numbers gives all its codewords. So arithmetic is done on a number for several indices, and the first array
as large as the matrix is the matrix. Valid from opset 13 on, in one form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

OPSET = 13

NATIVE_BITS = (1, 2, 4, 8)
"""Widths of the operators' indices."""

INPUTS = {
    "indices": "uint8 [out, ceil(blocks * bits / 8)]: the codeword of each of the ceil(columns / block) blocks of a "
    "row, packed least significant bits first; a row begins at a whole byte",
    "codewords": "float [count, block]; count is at most 2^bits",
}
ATTRIBUTES = {"bits": "int: of an index, 1, 2, 4 or 8", "columns": "int: inputs a row; the last block may go beyond"}


class Emitter(Protocol):
    """What nodes are added to: `dtc.deploy.ops.Body`, or a builder of graph nodes."""

    def constant(self, array: npt.NDArray[Any] | np.generic) -> ir.Value:
        """Add a constant."""
        ...

    def op(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        """Add a node of one output."""
        ...


def integers(*numbers: int) -> npt.NDArray[np.int64]:
    """Return an int64 array."""
    return np.array(numbers, dtype=np.int64)


def digits(e: Emitter, count: int, divisors: ir.Value, base: ir.Value) -> ir.Value:
    """Return `number // divisor % base` of the numbers below `count`, int64 `[count, divisors]`."""
    numbers = e.op("Range", [e.constant(np.int64(number)) for number in (0, count, 1)])
    column = e.op("Reshape", [numbers, e.constant(integers(count, 1))])
    return e.op("Mod", [e.op("Div", [column, divisors]), base])


def codeword_table(e: Emitter, codewords: ir.Value, indices: ir.Value) -> ir.Value:
    """Return the codewords of rows of indices, float `[numbers, indices, block]`; unused numbers have the last one."""
    last = e.op("Sub", [e.op("Gather", [e.op("Shape", [codewords]), e.constant(np.int64(0))]), e.constant(np.int64(1))])
    return e.op("Gather", [codewords, e.op("Min", [indices, last])])


def look_up(e: Emitter, table: ir.Value, numbers: ir.Value) -> ir.Value:
    """Return the rows of `table` of integers of any type, in front of the table's other dimensions."""
    return e.op("Gather", [table, e.op("Cast", [numbers], to=ir.DataType.INT32)])


def decode_rows(e: Emitter, indices: ir.Value, codewords: ir.Value) -> ir.Value:
    """Return the body of all operators: the float matrix `[out, columns]`, by their attributes."""
    return decode_matrix(e, indices, codewords, *(_attribute(e, name) for name in ATTRIBUTES))


def decode_matrix(e: Emitter, indices: ir.Value, codewords: ir.Value, bits: ir.Value, columns: ir.Value) -> ir.Value:
    """Return the float matrix `[out, columns]` of indices of `bits` bits; both are int64 scalars."""
    powers = e.constant(2 ** np.arange(9))
    steps = e.op("Range", [e.constant(np.int64(0)), e.constant(np.int64(8)), bits])
    of_bytes = digits(e, 256, e.op("Gather", [powers, steps]), e.op("Gather", [powers, bits]))
    blocks = look_up(e, codeword_table(e, codewords, of_bytes), indices)
    rows = e.op("Flatten", [blocks], axis=1)  # of no rows too, unlike Reshape
    stop = e.op("Reshape", [columns, e.constant(integers(1))])
    return e.op("Slice", [rows, e.constant(integers(0)), stop, e.constant(integers(1))])


def attributes() -> list[ir.Attr]:
    """Return the attributes that all operators on codebooks have; every node gives them."""
    return [ir.AttrInt64("bits", 8), ir.AttrInt64("columns", 1)]


def _attribute(e: Emitter, name: str) -> ir.Value:
    return e.op("Constant", [], value_int=ir.RefAttr("value_int", name, ir.AttributeType.INT))
