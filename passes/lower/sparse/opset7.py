"""Sparse weights in a model of an operator set that is older than what decodes them otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from dtc.forms import Form
from dtc.forms.sparse import Sparse, Values
from dtc.forms.sparse_pattern import Lines
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.opset7 import spread


def decode(e: GraphBuilder, forms: Sequence[Form], dtype: ir.DataType) -> ir.Value:
    """Return sparse matrices, float `[matrices * rows, cols]`; of a float16 weight the values are stored in float16.

    A bit for each weight says where values are, whatever the pattern was: nothing finds the places of compressed rows.
    """
    form = Sparse.stack([form for form in forms if isinstance(form, Sparse)])
    values = form.values.astype(np.float16) if dtype == ir.DataType.FLOAT16 else form.values
    if isinstance(form.pattern, Lines):
        return _decode_lines(e, values, form.pattern)
    stored = _floats(e, e.initializer("values", values))
    return e.op("Reshape", [spread(e, "bitmap", stored, form.kept()), e.constant(form.shape)])


def _decode_lines(e: GraphBuilder, values: Values, lines: Lines) -> ir.Value:
    """Look each line up among those that are kept and one of zeros behind them."""
    count, width = len(lines.kept), lines.shape[1 - lines.axis]
    kept = _floats(e, e.initializer("values", values.reshape(count, width)))
    first = e.slice(kept, 0, 1)
    found = np.full(lines.shape[lines.axis], count)
    found[lines.kept] = np.arange(count)
    numbers = e.initializer("kept", found.astype(np.min_scalar_type(count)))
    table = e.op("Concat", [kept, e.op("Sub", [first, first])], axis=0)
    matrix = e.op("Gather", [table, e.op("Cast", [numbers], to=ir.DataType.INT32)])
    return matrix if lines.axis == 0 else e.op("Transpose", [matrix], perm=[1, 0])


def _floats(e: GraphBuilder, stored: ir.Value) -> ir.Value:
    return stored if stored.dtype == ir.DataType.FLOAT else e.op("Cast", [stored], to=ir.DataType.FLOAT)
