"""Binary codes in a model of an operator set that is older than what decodes them otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from dtc.forms import Form
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.binary.parts import Planes
from dtc.passes.lower.opset7 import count_up, spread, store_numbers


def decode(e: GraphBuilder, forms: Sequence[Form], _: ir.DataType) -> ir.Value:
    """Return the matrices of binary codes, float `[matrices * rows, cols]`.

    The levels of all rows and groups are one list, in which each weight has its code counted from where those of its
    row and group begin: with 4 codes and 3 groups a row, from 12 r + 4 g on.
    """
    planes = Planes.of(forms)
    terms, rows, groups = planes.alphas.shape
    codes = 1 << len(planes.codes)
    alphas = e.initializer("alphas", np.ascontiguousarray(planes.alphas.transpose(1, 2, 0)).reshape(-1, terms))
    signs = e.op("Cast", [e.constant(planes.signs.astype(np.int8))], to=ir.DataType.FLOAT)
    levels = e.op("MatMul", [e.op("Cast", [alphas], to=ir.DataType.FLOAT), signs])
    row = e.op("Reshape", [count_up(e, rows), e.constant([rows, 1])])
    start = e.op("Mul", [row, e.constant(np.int32(groups * codes))])
    if planes.starts is not None:
        start = e.op("Add", [start, e.constant(planes.starts)])
    code = e.op("Reshape", [_codes(e, planes), e.constant([rows, planes.cols])])
    return e.op("Gather", [e.op("Reshape", [levels, e.constant([-1])]), e.op("Add", [code, start])])


def _codes(e: GraphBuilder, planes: Planes) -> ir.Value:
    """Return the code of each weight, int32 `[rows * cols]`; of few kept weights theirs alone are stored.

    The mask is the highest bit of a code, and what is not kept has the code 0.
    """
    code = planes.code
    if planes.survivors is None:
        return store_numbers(e, "codes", code, len(planes.codes))
    kept = code >> planes.bits == 1
    signs = code[kept] & (1 << planes.bits) - 1 if kept.any() else np.zeros(1, np.uint8)
    marked = e.op("Add", [store_numbers(e, "survivors", signs, planes.bits), e.constant(np.int32(1 << planes.bits))])
    return spread(e, "mask", marked, kept, ir.DataType.INT32)
