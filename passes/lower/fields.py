"""Nodes that decode fields of small numbers in a graph; all sizes are known meanwhile, so none is superfluous."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops.codebook.decode import codeword_table, integers, look_up
from dtc.forms.index_fields import field_widths
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.running_sums import sums_before_in_rows


def decode_indices(
    e: GraphBuilder,
    packed: ir.Value,
    bits: int,
    rows: int,
    count: int,
    codewords: ir.Value | None = None,
    block: int = 1,
    dtype: ir.DataType = ir.DataType.UINT8,
) -> ir.Value:
    """Return the codewords of packed indices `[rows, bytes]`, `count` a row; without codewords the indices themselves.

    The elements, float, or of `dtype`, are in the order of `[rows, count, block]`, in whatever shape; `rows` may be -1
    where only a run knows it.
    """
    # 6 bits are fields of 4 and 2 bits, so a byte of the first field has 2 indices. The 4 indices of a row: bytes (b0,
    # b1) of the first field, c of the second. Their numbers, of 12 bits, are b0 + (c & 15) 256 and b1 + (c >> 4) 256.
    # Each number is looked up once in a table [2^12, 2] of indices, or [2^12, 2, block] of codewords.
    widths = field_widths(bits)
    if codewords is None and widths == [8]:
        return packed if dtype == ir.DataType.UINT8 else e.op("Cast", [packed], to=dtype)
    together = 8 // widths[0]  # indices that a number stands for
    lead = -(-count // together)
    numbers = _numbers(e, packed, widths, rows, count)
    if codewords is None:
        table = _index_table(e, bits, dtype)
    else:
        # One index a number (8 bits and more): the number is the index, and the codewords are their own table.
        table = codewords if together == 1 else codeword_table(e, codewords, _index_table(e, bits, ir.DataType.INT64))
    return trim(e, e.op("Gather", [table, numbers]), rows, (lead * together, count), block)


def _numbers(e: GraphBuilder, packed: ir.Value, widths: list[int], rows: int, count: int) -> ir.Value:
    """Return a number for each byte of the first field: all bits of that byte's indices, int32 `[rows, bytes]`."""
    together, lead = 8 // widths[0], -(-count * widths[0] // 8)
    if len(widths) == 1:
        return e.op("Cast", [packed], to=ir.DataType.INT32)
    numbers = e.op("Cast", [_slice(e, packed, 0, lead)], to=ir.DataType.INT32)
    start, base = lead, 8
    for width in widths[1:]:
        size = -(-count * width // 8)
        # Of 6 bits, a byte of the second field has 8 / 2 = 4 indices, 2 for each number: it is part of 2 numbers.
        parts = 8 // (width * together)  # numbers that a byte of this field has a part of
        field = _slice(e, packed, start, start + size)
        spread = look_up(e, _spread_table(e, width * together, parts, base), field)
        # [rows, size] -> [rows, size, parts] -> [rows, size * parts]; the last byte may have parts of numbers that do
        # not exist.
        flat = e.op("Reshape", [spread, e.constant(integers(rows, size * parts))])
        numbers = e.op("Add", [numbers, flat if size * parts == lead else _slice(e, flat, 0, lead)])
        start, base = start + size, base + width * together
    return numbers


def trim(e: GraphBuilder, value: ir.Value, rows: int, units: tuple[int, int], unit: int = 1) -> ir.Value:
    """Return of `[rows, units[0], unit]` elements, in whatever shape, the first `units[1]` of each row."""
    if units[0] == units[1]:
        return value
    return _slice(e, e.op("Reshape", [value, e.constant(integers(rows, units[0], unit))]), 0, units[1])


def _slice(e: GraphBuilder, value: ir.Value, start: int, stop: int) -> ir.Value:
    """Return a range of the second dimension."""
    return e.op("Slice", [value, *(e.constant(integers(number)) for number in (start, stop, 1))])


def _spread_table(e: GraphBuilder, width: int, parts: int, base: int) -> ir.Value:
    """Return for each byte its `parts` digits of `width` bits, shifted by `base` bits, int32 `[256, parts]`."""

    def make(front: GraphBuilder) -> ir.Value:
        divisors = width * np.arange(parts)
        return front.op("Mul", [digits(front, 256, divisors, width, np.int32), front.constant(np.int32(2**base))])

    return e.once(("spread", width, parts, base), make)


def _index_table(e: GraphBuilder, bits: int, dtype: ir.DataType = ir.DataType.INT32) -> ir.Value:
    """Return for each number the indices that it stands for, `[2 ** (bits * together), together]`.

    Of int32 or int64, or of bytes, so that nothing as large as a matrix has wider integers.
    """
    if dtype == ir.DataType.UINT8:
        return e.once(("index", bits, dtype), lambda n: n.op("Cast", [_index_table(n, bits)], to=dtype))
    number = dtype.numpy().type

    def make(front: GraphBuilder) -> ir.Value:
        widths = field_widths(bits)
        together = 8 // widths[0]
        total, base, shift = None, 0, 0
        # Of 6 bits: index i of a number is its digit of 4 bits at 4 i, plus 16 times its digit of 2 bits at 8 + 2 i.
        # `base` is where the field begins in the number, `shift` where it does in the index.
        for width in widths:
            field = digits(front, 2 ** (bits * together), base + width * np.arange(together), width, number)
            part = field if shift == 0 else front.op("Mul", [field, front.constant(number(2**shift))])
            total = part if total is None else front.op("Add", [total, part])
            base, shift = base + width * together, shift + width
        assert total is not None
        return total

    return e.once(("index", bits, dtype), make)


def digits(
    e: GraphBuilder, count: int, shifts: npt.NDArray[np.integer], width: int, number: type[np.integer]
) -> ir.Value:
    """Return the digits of `width` bits, above so many bits each, of all numbers below `count`, `[count, digits]`."""
    # Bytes as two indices of 4 bits, shifts 0 and 4: byte 0xA3 -> 3, 10.
    numbers = e.op("Range", [e.constant(number(each)) for each in (0, count, 1)])
    column = e.op("Reshape", [numbers, e.constant(integers(count, 1))])
    shifted = e.op("Div", [column, e.constant((2**shifts).astype(number))])
    return e.op("Mod", [shifted, e.constant(number(2**width))])


def bit_mask(e: GraphBuilder, packed: ir.Value, rows: int, cols: int) -> ir.Value:
    """Return the packed bits `[rows, bytes]` as bool `[rows, cols]`."""
    table = e.once("bits", lambda n: n.op("Cast", [_index_table(n, 1)], to=ir.DataType.BOOL))
    bits = trim(e, look_up(e, table, packed), rows, (-(-cols // 8) * 8, cols))
    return e.op("Reshape", [bits, e.constant(integers(rows, cols))])


def expand(
    e: GraphBuilder,
    values: ir.Value,
    packed: ir.Value,
    shape: tuple[int, int],
    sums_before: Callable[[ir.Value, int], ir.Value],
) -> ir.Value:
    """Return float `[rows, cols]`: the values `[n]` where the packed bits `[rows, bytes]` are set, else zero.

    `sums_before` returns the sum before each of so many int32 numbers.

    Where a byte's first value lies is a running sum over bytes, where in the byte's share a bit's lies is in a table.
    """
    (rows, cols), numbers = shape, e.op("Cast", [packed], to=ir.DataType.INT32)

    # Packed bits 0b0101 and 0b0010, values (7, 8, 9): sizes (2, 1), first (0, 2). Ranks within the first byte (0, 1, 1,
    # 2, ...), within the second (0, 0, 1, 1, ...): places (0, 1, 1, 2, ...) and (2, 2, 3, 3, ...).
    # A bit that is not set has a place too, that of the next value: the last line makes it zero.
    def ranks(n: GraphBuilder) -> ir.Value:
        return sums_before_in_rows(n, _index_table(n, 1), 8)

    def sizes(n: GraphBuilder) -> ir.Value:
        return n.total(_index_table(n, 1), [1])

    size = e.op("Gather", [e.once("sizes", sizes), numbers])
    flat = e.op("Reshape", [size, e.constant(integers(-1))])
    first = sums_before(flat, rows * -(-cols // 8))
    # [rows, bytes] -> [rows, bytes, 8], a place for each bit.
    rank = e.op("Gather", [e.once("ranks", ranks), numbers])
    place = e.op("Add", [e.op("Reshape", [first, e.constant(integers(rows, -1, 1))]), rank])
    padded = e.op("Concat", [values, e.constant(np.zeros(1, np.float32))], axis=0)  # a place after the last bit
    spread = trim(e, e.op("Gather", [padded, place]), rows, (-(-cols // 8) * 8, cols))
    matrix = e.op("Reshape", [spread, e.constant(integers(rows, cols))])
    return e.op("Where", [bit_mask(e, packed, rows, cols), matrix, e.constant(np.float32(0))])
