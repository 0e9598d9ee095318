"""The layout of the codes of a product's weight: blocks of 32 rows, in which a kernel reads whole registers.

For each block, for each byte position of a row, the bytes of the block's rows stand one after another; the last block
has only the rows that are left. Bytes are the same as in rows, only their order differs, and nothing is padded. So a
kernel computes on the file's own bytes: no second copy of the weight is made for it when a session starts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops.binary.decode import Emitter, integers

BLOCK_ROWS = 32


def in_blocks(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return codes `[planes, out, bytes]` in blocks, `[planes, out * bytes]`."""
    planes, out, _ = codes.shape
    blocks = [codes[:, first : first + BLOCK_ROWS] for first in range(0, out, BLOCK_ROWS)]
    return np.concatenate([block.transpose(0, 2, 1).reshape(planes, -1) for block in blocks], axis=1)


def rows_of_blocks(e: Emitter, codes: ir.Value, out: ir.Value) -> ir.Value:
    """Return codes in rows, `[planes, out, bytes]`, of codes in blocks; `out` is int64 `[1]`."""
    rows, block = e.op("Cast", [out], to=ir.DataType.INT32), e.constant(np.array([BLOCK_ROWS], dtype=np.int32))
    total = e.op("Gather", [e.op("Shape", [codes]), e.constant(integers(1))])
    width = e.op("Div", [e.op("Cast", [total], to=ir.DataType.INT32), rows])
    row = e.op("Reshape", [_count(e, rows), e.constant(integers(-1, 1))])
    first = e.op("Mul", [e.op("Div", [row, block]), block])
    left = e.op("Min", [e.op("Sub", [rows, first]), block])
    start = e.op("Add", [e.op("Mul", [first, width]), e.op("Sub", [row, first])])
    place = e.op("Add", [e.op("Mul", [_count(e, width), left]), start])
    return e.op("Gather", [codes, place], axis=1)


def blocks_of_rows(e: Emitter, codes: ir.Value) -> ir.Value:
    """Return codes in blocks, `[planes, out * bytes]`, of codes in rows; for a weight that others read in rows."""
    sizes = e.op(
        "Cast",
        [
            e.op("Shape", [codes]),
        ],
        to=ir.DataType.INT32,
    )
    rows, width = (e.op("Gather", [sizes, e.constant(integers(axis))]) for axis in (1, 2))
    block = e.constant(np.array([BLOCK_ROWS], dtype=np.int32))
    place = _count(e, e.op("Mul", [rows, width]))
    first = e.op("Mul", [e.op("Div", [place, e.op("Mul", [block, width])]), block])
    left = e.op("Min", [e.op("Sub", [rows, first]), block])
    inside = e.op("Sub", [place, e.op("Mul", [first, width])])
    byte = e.op("Div", [inside, left])
    row = e.op("Add", [first, e.op("Sub", [inside, e.op("Mul", [byte, left])])])
    source = e.op("Add", [e.op("Mul", [row, width]), byte])
    return e.op("Gather", [e.op("Reshape", [codes, e.constant(integers(0, -1))]), source], axis=1)


def _count(e: Emitter, stop: ir.Value) -> ir.Value:
    """Return 0, 1, ... below int32 `[1]`."""
    scalar = e.op("Reshape", [stop, e.constant(integers())])
    return e.op("Range", [e.constant(np.int32(0)), scalar, e.constant(np.int32(1))])
