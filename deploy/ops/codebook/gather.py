"""`dtc.CodebookGather`: rows of an embedding table of codewords."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.codebook.decode import ATTRIBUTES, INPUTS, OPSET, attributes, decode_rows
from dtc.graph.builder import Builder, FunctionBuilder


def flat_rows(build: Builder, table: ir.Value, ids: ir.Value) -> ir.Value:
    """Return the rows `ids` of a table, `[number of ids, ...]`, whatever the shape of `ids`."""
    return build.op("Gather", [table, build.op("Reshape", [ids, build.constant([-1])])])


def like_ids(build: Builder, rows: ir.Value, ids: ir.Value) -> ir.Value:
    """Return rows `[number of ids, columns]` as `[*ids, columns]`."""
    columns = build.op("Gather", [build.op("Shape", [rows]), build.constant([1])])
    return build.op("Reshape", [rows, build.op("Concat", [build.op("Shape", [ids]), columns], axis=0)])


def function() -> ir.Function:
    """Return the body: gather the rows' indices, and decode them alone."""
    body = FunctionBuilder(DOMAIN, ["ids", *INPUTS], OPSET)
    ids = body.inputs["ids"]
    rows = decode_rows(body, flat_rows(body, body.inputs["indices"], ids), body.inputs["codewords"])
    return body.close("CodebookGather", like_ids(body, rows, ids), attributes())


OP = Operator(
    "CodebookGather",
    function,
    {"ids": "int32 or int64, any shape; negative ones count from the end"} | INPUTS,
    ATTRIBUTES,
    "The rows of the given ids of the matrix [out, columns] whose blocks are codewords: float [*ids, columns].",
)
