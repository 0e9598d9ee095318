"""Decoding a codebook with standard operators, in a function's body or in a graph.

A byte of packed indices, with what belongs to the same indices in the other fields, is a number: one look-up in a table
of all such numbers gives all its codewords. So arithmetic is done on a number for several indices, and the first array
as large as the matrix is the matrix. Valid from opset 12 on, in one form.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.graph.builder import Builder, FunctionBuilder

OPSET = 12

NATIVE_BITS = (1, 2, 4, 8)
"""Widths of the operators' indices."""

INPUTS = {
    "indices": "uint8 [out, ceil(blocks * bits / 8)]: the codeword of each of the ceil(columns / block) blocks of a "
    "row, packed least significant bits first; a row begins at a whole byte",
    "codewords": "float [count, block]; count is at most 2^bits",
}
ATTRIBUTES = {"bits": "int: of an index, 1, 2, 4 or 8", "columns": "int: inputs a row; the last block may go beyond"}


def integers(*numbers: int) -> npt.NDArray[np.int64]:
    """Return the numbers as an int64 array `[numbers]`."""
    return np.array(numbers, dtype=np.int64)


def digits(build: Builder, count: int, divisors: ir.Value, base: ir.Value) -> ir.Value:
    """Return the digits `number // divisor % base` of all numbers below `count`, int64 `[count, divisors]`."""
    # Bytes as two indices of 4 bits, divisors 1 and 16, base 16: byte 0xA3 -> 3, 10.
    numbers = build.op("Range", [build.constant(number) for number in (0, count, 1)])
    column = build.op("Reshape", [numbers, build.constant([count, 1])])
    return build.op("Mod", [build.op("Div", [column, divisors]), base])


def codeword_table(build: Builder, codewords: ir.Value, indices: ir.Value) -> ir.Value:
    """Return the codewords of rows of indices, float `[numbers, indices, block]`; unused numbers have the last one."""
    # A codebook of 5 codewords has 3-bit numbers up to 7: 5, 6 and 7 occur in no weight, but the table has rows for
    # them, and a Gather of them would be out of range.
    count = build.op("Gather", [build.op("Shape", [codewords]), build.constant(0)])
    last = build.op("Sub", [count, build.constant(1)])
    return build.op("Gather", [codewords, build.op("Min", [indices, last])])


def look_up(build: Builder, table: ir.Value, numbers: ir.Value) -> ir.Value:
    """Return the rows of `table` of integers of any type, in front of the table's other dimensions."""
    return build.op("Gather", [table, build.op("Cast", [numbers], to=ir.DataType.INT32)])


def decode_rows(build: FunctionBuilder, indices: ir.Value, codewords: ir.Value) -> ir.Value:
    """Return the body of all operators: the float matrix `[out, columns]`, by their attributes."""
    return decode_matrix(build, indices, codewords, *(build.integer(name) for name in ATTRIBUTES))


def decode_matrix(
    build: Builder, indices: ir.Value, codewords: ir.Value, bits: ir.Value, columns: ir.Value
) -> ir.Value:
    """Return the float matrix `[out, columns]` of indices of `bits` bits; both are int64 scalars."""
    # bits 4: steps 0 4, divisors 1 16, base 16 -> of_bytes [256, 2], the indices in every byte
    # -> table [256, 2, block], the codewords of every byte
    # -> indices [out, bytes] looked up -> [out, bytes, 2, block] -> rows [out, bytes * 2 * block] -> [out, columns]
    powers = build.constant(2 ** np.arange(9))
    steps = build.op("Range", [build.constant(0), build.constant(8), bits])
    of_bytes = digits(build, 256, build.op("Gather", [powers, steps]), build.op("Gather", [powers, bits]))
    blocks = look_up(build, codeword_table(build, codewords, of_bytes), indices)
    rows = build.op("Flatten", [blocks], axis=1)  # of no rows too, unlike Reshape
    stop = build.op("Reshape", [columns, build.constant([1])])
    return build.op("Slice", [rows, build.constant([0]), stop, build.constant([1])])


def attributes() -> list[ir.Attr]:
    """Return the attributes that all operators on codebooks have; every node gives them."""
    return [ir.AttrInt64("bits", 8), ir.AttrInt64("columns", 1)]
