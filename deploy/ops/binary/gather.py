"""`dtc.BinaryGather`: rows of an embedding table of binary codes."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.binary.decode import (
    ATTRIBUTES,
    INPUTS,
    OPSET,
    attributes,
    computed_constants,
    decode,
)
from dtc.graph.builder import Builder, FunctionBuilder


def gather_rows(build: Builder, indices: ir.Value, codes: ir.Value, alphas: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Return codes `[planes, n, bytes]` and alphas `[terms, n, groups]` of the rows of `n` indices.

    Gathered while packed, so that no other row is decoded.
    """
    flat = build.op("Reshape", [indices, build.constant([-1])])
    return build.op("Gather", [codes, flat], axis=1), build.op("Gather", [alphas, flat], axis=1)


def reshape_rows(build: Builder, rows: ir.Value, indices: ir.Value, cols: ir.Value) -> ir.Value:
    """Return decoded rows as float `[*indices, in]`."""
    return build.op("Reshape", [rows, build.op("Concat", [build.op("Shape", [indices]), cols], axis=0)])


def function() -> ir.Function:
    """Return the body: gather codes, and decode them."""
    body = FunctionBuilder(DOMAIN, ["indices", *INPUTS], OPSET)
    indices = body.inputs["indices"]
    codes, alphas = gather_rows(body, indices, body.inputs["codes"], body.inputs["alphas"])
    given = computed_constants(body, codes, alphas)
    assert given.cols is not None
    rows = decode(body, codes, alphas, given)
    return body.close("BinaryGather", reshape_rows(body, rows, indices, given.cols), attributes())


OP = Operator(
    "BinaryGather",
    function,
    {"indices": "int32 or int64, any shape; negative ones count from the end"} | INPUTS,
    ATTRIBUTES,
    "The rows of the given indices of the matrix [out, in] that binary codes stand for: float [*indices, in].",
)
