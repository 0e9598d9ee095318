"""Whole rows or columns that are zero: a smaller dense product in standard operators, where that is faster."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops.sparse.decode import count_up, filled
from dtc.forms.sparse_pattern import Lines
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.sparse.stored import StoredSparse

PRODUCTS_PER_GATHERED = 300
"""Products of numbers that must be saved for each number that is gathered.

Measured on the CPU of ONNX Runtime 1.31 with 1 and 20 rows of input: gathering a number, 2.6 ns, takes as long as 130
products; at 300 even small matrices got faster (300x784: 1.04x), below 200 some got slower (10000x100, half of the rows
gone: 0.56x).
"""


def pays_to_multiply(lines: Lines) -> bool:
    """True if the smaller product with what is gathered around it is faster than the whole product."""
    kept, of = len(lines.kept), lines.shape[lines.axis]
    # Per row of input. 600 of 1000 rows [1000, 784] zero: 600 * 784 products saved, 1000 outputs gathered, 470 for
    # each.
    gathered = of if lines.axis == 0 else kept
    return (of - kept) * lines.shape[1 - lines.axis] >= PRODUCTS_PER_GATHERED * gathered


def multiply_lines(builder: GraphBuilder, stored: StoredSparse, lines: Lines, x: ir.Value) -> ir.Value:
    """Add nodes for `x [..., in] @ W [out, in]^T`.

    Of zero columns: the inputs that are left are gathered, then multiplied. Of zero rows: the outputs that are left
    are computed, with one more that is zero, and each output is gathered from those.
    """
    # Columns: x [..., in] -> [..., kept] @ values [kept, out], which are stored as lines and so need no Transpose.
    if lines.axis == 1:
        return builder.op(
            "MatMul", [builder.op("Gather", [x, _kept(builder, stored, lines)], axis=-1), stored.cast_values(builder)]
        )
    # Rows: x [..., in] @ [in, kept + 1] -> [..., kept + 1], the last one 0 -> [..., out].
    weight = builder.op("Transpose", [_with_zero_row(builder, stored, lines)], perm=[1, 0])
    return builder.op("Gather", [builder.op("MatMul", [x, weight]), _line_of_each(builder, stored, lines)], axis=-1)


def lookup_lines(builder: GraphBuilder, stored: StoredSparse, lines: Lines, ids: ir.Value) -> ir.Value:
    """Add nodes for the rows `ids [...]` of the table: `[..., in]`."""
    line_of_each = _line_of_each(builder, stored, lines)
    # Rows: ids [...] -> lines [...] -> their values [..., in].
    if lines.axis == 0:
        found = builder.op("Gather", [line_of_each, ids], axis=0)
        return builder.op("Gather", [_with_zero_row(builder, stored, lines), found], axis=0)
    # Columns: [kept + 1, out] -> [out, kept + 1] -> the rows [..., kept + 1] -> [..., in].
    rows = builder.op("Transpose", [_with_zero_row(builder, stored, lines)], perm=[1, 0])
    return builder.op("Gather", [builder.op("Gather", [rows, ids], axis=0), line_of_each], axis=-1)


def _with_zero_row(builder: GraphBuilder, stored: StoredSparse, lines: Lines) -> ir.Value:
    zeros = np.array([1, lines.shape[1 - lines.axis]], dtype=np.int64)
    zero_row = builder.op("ConstantOfShape", [builder.constant(zeros)], value=ir.tensor(np.zeros(1, dtype=np.float32)))
    return builder.op("Concat", [stored.cast_values(builder), zero_row], axis=0)


def _kept(builder: GraphBuilder, stored: StoredSparse, lines: Lines) -> ir.Value:
    return builder.op("Cast", [stored.part("kept", lines.kept)], to=int(ir.DataType.INT32))


def _line_of_each(builder: GraphBuilder, stored: StoredSparse, lines: Lines) -> ir.Value:
    """Return the kept line that each line of the matrix is, int32; the row of zeros behind them for the others.

    Of 4 lines 1 and 3 are kept: (2, 0, 2, 1).
    """
    count, total = (
        builder.constant(np.array([number], dtype=np.int64)) for number in (len(lines.kept), lines.shape[lines.axis])
    )
    nowhere = filled(builder, total, len(lines.kept))
    return builder.op("ScatterElements", [nowhere, _kept(builder, stored, lines), count_up(builder, count)], axis=0)
