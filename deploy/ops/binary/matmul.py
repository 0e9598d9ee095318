"""`dtc.BinaryMatMul`: a product with a weight of binary codes."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.binary.blocks import rows_of_blocks
from dtc.deploy.ops.binary.decode import ATTRIBUTES, OPSET, attributes, computed_constants, decode
from dtc.graph.builder import FunctionBuilder

ACCURACY_LEVEL = 1
ACCURACY_DOC = (
    "arithmetic of the native kernel: 0 exact float, 1 tables of 16 bits (the default), 4 tables of 8 bits; the body "
    "is exact"
)

INPUTS = {
    "x": "float [..., in]",
    "codes": "uint8 [bits (+ 1), out * ceil(in / 8)]: the planes of codes in blocks of 32 rows, see "
    "`dtc.deploy.ops.binary.blocks`; input 8 b + i in bit i of byte b, bit 1 is +1; where there is one plane more than "
    "`bits`, it is the mask, bit 0 is a weight of 0",
    "alphas": "float or float16 [bits (+ 1), groups, out]: a coefficient for each plane; where there is one more, "
    "it is the constant term of the row or group",
}


def function() -> ir.Function:
    """Return the body: decode, in the order that a MatMul reads, and multiply."""
    body = FunctionBuilder(DOMAIN, list(INPUTS), OPSET)
    # The kernel's layout is not the decoder's: alphas [terms, groups, out] -> [terms, out, groups], blocks -> rows.
    alphas = body.op("Transpose", [body.inputs["alphas"]], perm=[0, 2, 1])
    out = body.op("Gather", [body.op("Shape", [body.inputs["alphas"]]), body.constant([2])])
    codes = rows_of_blocks(body, body.inputs["codes"], out)
    given = computed_constants(body, codes, alphas, transposed=True)
    weight = decode(body, codes, alphas, given, transposed=True)
    product = body.op("MatMul", [body.inputs["x"], weight])
    return body.close("BinaryMatMul", product, [*attributes(), ir.AttrInt64("accuracy_level", ACCURACY_LEVEL)])


OP = Operator(
    "BinaryMatMul",
    function,
    INPUTS,
    ATTRIBUTES | {"accuracy_level": f"int: {ACCURACY_DOC}"},
    "x times the transposed matrix [out, in] that binary codes stand for: float [..., out].",
)
