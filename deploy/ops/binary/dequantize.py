"""`dtc.BinaryDequantize`: the dense weight of binary codes, for whatever reads one."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.binary.decode import ATTRIBUTES, INPUTS, OPSET, attributes, computed_constants, decode
from dtc.graph.builder import FunctionBuilder


def function() -> ir.Function:
    """Return the body: decode."""
    body = FunctionBuilder(DOMAIN, list(INPUTS), OPSET)
    codes, alphas = body.inputs["codes"], body.inputs["alphas"]
    given = computed_constants(body, codes, alphas)
    weight = decode(body, codes, alphas, given)
    return body.close("BinaryDequantize", weight, attributes())


OP = Operator(
    "BinaryDequantize",
    function,
    INPUTS,
    ATTRIBUTES,
    "The float matrix [out, in] that binary codes stand for.",
)
