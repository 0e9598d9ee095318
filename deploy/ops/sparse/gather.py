"""`dtc.SparseGather`: rows of a table in compressed sparse rows."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.sparse.decode import OPSET, PackedCsr, cols_attribute
from dtc.graph.builder import FunctionBuilder

_INPUTS = {
    "ids": "int32 or int64 `[...]`: numbers of rows; negative ones count from the end",
    "values": "the values of the weight, float32 or float16 `[count]`, row by row, at least one, finite",
    "columns": "uint8, uint16 or uint32 `[count]`: the column of each value, rising within a row",
    "row_pointers": "uint8, uint16 or uint32 `[out + 1]`: where each row begins among the values, then their number",
}


def _function() -> ir.Function:
    body = FunctionBuilder(DOMAIN, list(_INPUTS), OPSET)
    given = body.inputs
    cols = cols_attribute(body)
    values = body.op("Cast", [given["values"]], to=int(ir.DataType.FLOAT))
    y = PackedCsr(values, cols, given["columns"], given["row_pointers"]).rows(body, given["ids"])
    return body.close("SparseGather", y, [ir.Attr("cols", ir.AttributeType.INT, None)])


OP = Operator(
    "SparseGather",
    _function,
    _INPUTS,
    {"cols": "columns of the weight, `in`"},
    "Row `ids` of a sparse table `[rows, cols]`: y is float32 `[..., cols]`; no other row is decoded.",
)
