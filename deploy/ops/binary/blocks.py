"""The layout of the codes of a product's weight: blocks of 32 rows, in which a kernel reads whole registers.

For each block, for each byte position of a row, the bytes of the block's rows stand one after another; the last block
has only the rows that are left. Bytes are the same as in rows, only their order differs, and nothing is padded. So a
kernel computes on the file's own bytes: no second copy of the weight is made for it when a session starts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.graph.builder import Builder

BLOCK_ROWS = 32


def in_blocks(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return codes in rows, uint8 `[planes, out, bytes]`, as codes in blocks, `[planes, out * bytes]`."""
    # With blocks of 2 rows instead of 32, three rows of three bytes, byte j of row i written as ij:
    # [00 01 02], [10 11 12], [20 21 22] -> 00 10 01 11 02 12 | 20 21 22; the last block has one row alone.
    planes, out, _ = codes.shape
    # [planes, 32, bytes] -> [planes, bytes, 32] -> [planes, 32 * bytes], block by block
    blocks = [codes[:, first : first + BLOCK_ROWS] for first in range(0, out, BLOCK_ROWS)]
    return np.concatenate([block.transpose(0, 2, 1).reshape(planes, -1) for block in blocks], axis=1)


def rows_of_blocks(build: Builder, codes: ir.Value, out: ir.Value) -> ir.Value:
    """Add nodes that bring codes in blocks, `[planes, out * bytes]`, into rows, `[planes, out, bytes]`.

    `out` is int64 `[1]`. The nodes are the inverse of `in_blocks`.
    """
    # Byte j of row i lies at place(i, j) = first * width + j * left + (i - first): `first` is the first row of i's
    # block, `left` the rows of that block (32, fewer in the last one), `width` the bytes of a row. All of it is an
    # int32 table [out, width] that depends on shapes alone, so that a runtime computes it once, at load.
    rows, block = build.op("Cast", [out], to=ir.DataType.INT32), build.constant(np.array([BLOCK_ROWS], dtype=np.int32))
    total = build.op("Gather", [build.op("Shape", [codes]), build.constant([1])])
    # row, first, left, start [out, 1]; the count of bytes [width] -> place [out, width]
    width = build.op("Div", [build.op("Cast", [total], to=ir.DataType.INT32), rows])
    row = build.op("Reshape", [_count(build, rows), build.constant([-1, 1])])
    first = build.op("Mul", [build.op("Div", [row, block]), block])
    left = build.op("Min", [build.op("Sub", [rows, first]), block])
    start = build.op("Add", [build.op("Mul", [first, width]), build.op("Sub", [row, first])])
    place = build.op("Add", [build.op("Mul", [_count(build, width), left]), start])
    return build.op("Gather", [codes, place], axis=1)


def blocks_of_rows(build: Builder, codes: ir.Value) -> ir.Value:
    """Add nodes that bring codes in rows, `[planes, out, bytes]`, into blocks, `[planes, out * bytes]`.

    For a weight that is stored in rows, because other nodes read it that way.
    """
    sizes = build.op(
        "Cast",
        [
            build.op("Shape", [codes]),
        ],
        to=ir.DataType.INT32,
    )
    rows, width = (build.op("Gather", [sizes, build.constant([axis])]) for axis in (1, 2))
    block = build.constant(np.array([BLOCK_ROWS], dtype=np.int32))
    # The other way round: which byte [row, byte] stands at each place of the blocks, all int32 [out * width]. A whole
    # block takes 32 * width places, so place // (32 * width) * 32 is the first row of its block; within the block
    # `left` rows take turns: byte = inside // left, row = first + inside % left.
    place = _count(build, build.op("Mul", [rows, width]))
    first = build.op("Mul", [build.op("Div", [place, build.op("Mul", [block, width])]), block])
    left = build.op("Min", [build.op("Sub", [rows, first]), block])
    inside = build.op("Sub", [place, build.op("Mul", [first, width])])
    byte = build.op("Div", [inside, left])
    row = build.op("Add", [first, build.op("Sub", [inside, build.op("Mul", [byte, left])])])
    source = build.op("Add", [build.op("Mul", [row, width]), byte])
    return build.op("Gather", [build.op("Reshape", [codes, build.constant([0, -1])]), source], axis=1)


def _count(build: Builder, stop: ir.Value) -> ir.Value:
    """Return the numbers 0, 1, ... below `stop`, int32 `[1]`."""
    scalar = build.op("Reshape", [stop, build.constant([])])
    return build.op("Range", [build.constant(np.int32(0)), scalar, build.constant(np.int32(1))])
