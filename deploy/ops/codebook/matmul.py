"""`dtc.CodebookMatMul`: a product with a weight of codewords."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.codebook.decode import ATTRIBUTES, INPUTS, OPSET, attributes, decode_rows
from dtc.graph.builder import FunctionBuilder


def function() -> ir.Function:
    """Return the body: decode and multiply."""
    body = FunctionBuilder(DOMAIN, ["x", *INPUTS], OPSET)
    weight = decode_rows(body, body.inputs["indices"], body.inputs["codewords"])
    product = body.op("MatMul", [body.inputs["x"], body.op("Transpose", [weight], perm=[1, 0])])
    return body.close("CodebookMatMul", product, attributes())


OP = Operator(
    "CodebookMatMul",
    function,
    {"x": "float [..., columns]"} | INPUTS,
    ATTRIBUTES,
    "x times the transposed matrix [out, columns] whose blocks are codewords: float [..., out].",
)
