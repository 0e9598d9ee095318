"""Binary codes packed for decoding nodes alone: a byte holds whole codes, not one bit of the codes of eight weights.

A runtime that folds nodes at load keeps what every node returns until all are folded. From planes, several nodes return
all bits or all codes before there is an index for each weight; from packed codes two shifts and a Flatten do. So the
codes of a matrix that no operator reads are stored packed, in the order in which the matrix is read.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops.binary.decode import integers
from dtc.forms.binary import Packed
from dtc.graph.builder import Builder

PACKED_BITS = (1, 2, 4, 8)
"""Widths of codes that fill a byte."""


def pack(code: Packed, bits: int) -> Packed:
    """Return codes `[rows, columns]` as `[ceil(rows * bits / 8), 1, columns]`, the first row in the lowest bits."""
    # 2 bits, 5 rows: 4 codes a byte. [5, columns] is padded to [8, columns] and becomes [2, 4, columns]; codes (1, 2,
    # 3, 0) of a column, the first lowest, become 1 + 2 * 4 + 3 * 16 = 57: [2, 1, columns].
    count = 8 // bits
    padded = np.pad(code, ((0, -len(code) % count), (0, 0))).reshape(-1, count, code.shape[1])
    shifts = bits * np.arange(count, dtype=np.uint8)[:, None]
    return np.bitwise_or.reduce(padded << shifts, axis=1, keepdims=True)


def unpack(e: Builder, packed: ir.Value, bits: int, rows: int) -> ir.Value:
    """Return the codes, uint8 `[rows, columns]`: shifts drop the bits above a code in its byte, then those below."""
    count = 8 // bits
    if count > 1:
        # Of 57, code 1: left by 8 - 2 - 2 * 1 = 4 is 0b10010000, as uint8 drops the rest; right by 6 is 2. [bytes, 1,
        # columns] -> [bytes, 4, columns] -> [4 bytes, columns].
        above = 8 - bits - bits * np.arange(count, dtype=np.uint8)[:, None]
        packed = e.op("BitShift", [packed, e.constant(above)], direction="LEFT")
        packed = e.op("BitShift", [packed, e.constant(np.uint8(8 - bits))], direction="RIGHT")
    code = e.op("Flatten", [packed], axis=2)
    if rows % count == 0:
        return code
    return e.op("Slice", [code, e.constant(integers(0)), e.constant(integers(rows)), e.constant(integers(0))])
