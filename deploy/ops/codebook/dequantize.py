"""`dtc.CodebookDequantize`: a weight of codewords, decoded for an operator that reads it dense."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.codebook.decode import ATTRIBUTES, INPUTS, OPSET, attributes, decode_rows
from dtc.graph.builder import FunctionBuilder


def function() -> ir.Function:
    """Return the body: decode."""
    body = FunctionBuilder(DOMAIN, list(INPUTS), OPSET)
    weight = decode_rows(body, body.inputs["indices"], body.inputs["codewords"])
    return body.close("CodebookDequantize", weight, attributes())


OP = Operator(
    "CodebookDequantize", function, INPUTS, ATTRIBUTES, "The float matrix [out, columns] whose blocks are codewords."
)
