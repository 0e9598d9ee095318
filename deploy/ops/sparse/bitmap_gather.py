"""`dtc.BitmapGather`: rows of a table in bitmap form."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.sparse.decode import OPSET, PackedBitmap, cols_attribute
from dtc.graph.builder import FunctionBuilder

_INPUTS = {
    "ids": "int32 or int64 `[...]`: numbers of rows; negative ones count from the end",
    "values": "the values of the weight, float32 or float16 `[count]`, row by row, at least one, finite",
    "bitmap": "uint8 `[out, ceil(in / 8)]`: a bit for each weight, LSB first along the input dimension, pad bits 0",
}


def _function() -> ir.Function:
    body = FunctionBuilder(DOMAIN, list(_INPUTS), OPSET)
    given = body.inputs
    cols = cols_attribute(body)
    values = body.op("Cast", [given["values"]], to=int(ir.DataType.FLOAT))
    y = PackedBitmap(values, cols, given["bitmap"]).rows(body, given["ids"])
    return body.close("BitmapGather", y, [ir.Attr("cols", ir.AttributeType.INT, None)])


OP = Operator(
    "BitmapGather",
    _function,
    _INPUTS,
    {"cols": "columns of the weight, `in`"},
    "Row `ids` of a sparse table `[rows, cols]`: y is float32 `[..., cols]`; no other row is decoded.",
)
