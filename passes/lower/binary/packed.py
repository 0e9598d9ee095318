"""Binary codes packed for decoding nodes alone: a byte holds whole codes, not one bit of the codes of eight weights.

A runtime that folds nodes at load keeps what every node returns until all are folded. From planes, several nodes return
all bits or all codes before there is an index for each weight; from packed codes three small ones do. So the
codes of a matrix that no operator reads are stored packed, a byte with codes of rows that lie far apart, so that what
is looked up by bytes has the order in which the matrix is read.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.forms.binary import Packed
from dtc.graph.builder import GraphBuilder

PACKED_BITS = (1, 2, 4, 8)
"""Widths of codes that fill a byte."""


def pack(code: Packed, bits: int) -> Packed:
    """Return codes `[rows, columns]` as `[ceil(rows * bits / 8), columns]`, the first rows in the lowest bits."""
    # 2 bits, 5 rows: 4 codes a byte, 2 bytes a column. [5, columns] is padded to [8, columns] and becomes [4, 2,
    # columns]: the first byte has rows 0, 2, 4, 6. Codes (1, 2, 3, 0) of these become 1 + 2 * 4 + 3 * 16 = 57.
    count = 8 // bits
    padded = np.pad(code, ((0, -len(code) % count), (0, 0))).reshape(count, -1, code.shape[1])
    shifts = bits * np.arange(count, dtype=np.uint8)[:, None, None]
    packed: Packed = np.bitwise_or.reduce(padded << shifts, axis=0)
    return packed


def unpack(e: GraphBuilder, packed: ir.Value, bits: int, rows: int) -> ir.Value:
    """Return the codes, int32 `[rows, columns]`: the digits of each byte, looked up.

    Not by shifts of bytes: what a shift moves out of a byte stays in some runtimes, which have wider registers.
    """
    count = 8 // bits
    if count > 1:
        # Byte 57 has the digits 1 2 3 0 of 2 bits: [bytes, columns] -> [4, bytes, columns] -> [4 bytes, columns].
        numbers = e.op("Cast", [packed], to=ir.DataType.INT32)
        packed = e.op("Flatten", [e.op("Gather", [_digits(e, bits), numbers], axis=1)], axis=2)
        if rows % count:
            packed = e.slice(packed, 0, rows)
    return e.op("Cast", [packed], to=ir.DataType.INT32)


def _digits(e: GraphBuilder, bits: int) -> ir.Value:
    """Return the digits of `bits` bits of every byte, the lowest first, uint8 `[8 / bits, 256]`; once for all sites."""

    def make(front: GraphBuilder) -> ir.Value:
        numbers = front.op("Range", [front.constant(np.int32(number)) for number in (0, 256, 1)])
        powers = (1 << bits) ** np.arange(8 // bits, dtype=np.int32)[:, None]
        digits = front.op(
            "Mod", [front.op("Div", [numbers, front.constant(powers)]), front.constant(np.int32(1 << bits))]
        )
        return front.op("Cast", [digits], to=ir.DataType.UINT8)

    return e.once(("digits of bytes", bits), make)
