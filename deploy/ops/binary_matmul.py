"""`dtc.BinaryMatMul`: a product with a weight of binary codes."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import Body, Operator
from dtc.deploy.ops.binary_decode import ATTRIBUTES, INPUTS, OPSET, attributes, computed_constants, decode

ACCURACY_LEVEL = 1


def function() -> ir.Function:
    """Return the body: decode, in the order that a MatMul reads, and multiply."""
    body = Body(["x", *INPUTS], OPSET)
    codes, alphas = body.inputs["codes"], body.inputs["alphas"]
    given = computed_constants(body, codes, alphas, transposed=True)
    weight = decode(body, codes, alphas, given, transposed=True)
    product = body.op("MatMul", [body.inputs["x"], weight])
    return body.close("BinaryMatMul", product, [*attributes(), ir.AttrInt64("accuracy_level", ACCURACY_LEVEL)])


OP = Operator(
    "BinaryMatMul",
    function,
    {"x": "float [..., in]"} | INPUTS,
    ATTRIBUTES
    | {
        "accuracy_level": "int: arithmetic of a native kernel: 0 exact float, 1 tables of 16 bits (the default), "
        "4 tables of 8 bits; the body is exact"
    },
    "x times the transposed matrix [out, in] that binary codes stand for: float [..., out].",
)
