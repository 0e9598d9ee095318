"""`dtc.CodebookMatMul`: a product with a weight of codewords."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.codebook.decode import ATTRIBUTES, INPUTS, OPSET, attributes, decode_rows
from dtc.graph.builder import FunctionBuilder

ACCURACY_LEVEL = 0
"""What a node without the attribute has: files were written before there was a choice."""

ACCURACY_DOC = (
    "arithmetic of the native kernel: 0 exact float (the default), 1 sums and numbers of 16 bits, 4 numbers of 8 bits; "
    "the body is exact"
)


def function() -> ir.Function:
    """Return the body: decode and multiply."""
    body = FunctionBuilder(DOMAIN, ["x", *INPUTS], OPSET)
    weight = decode_rows(body, body.inputs["indices"], body.inputs["codewords"])
    product = body.op("MatMul", [body.inputs["x"], body.op("Transpose", [weight], perm=[1, 0])])
    accuracy = ir.AttrInt64("accuracy_level", ACCURACY_LEVEL)
    return body.close("CodebookMatMul", product, [*attributes(), accuracy])


OP = Operator(
    "CodebookMatMul",
    function,
    {"x": "float [..., columns]"} | INPUTS,
    ATTRIBUTES | {"accuracy_level": f"int: {ACCURACY_DOC}"},
    "x times the transposed matrix [out, columns] whose blocks are codewords: float [..., out].",
)
