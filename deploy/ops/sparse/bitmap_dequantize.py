"""`dtc.BitmapDequantize`: a dense weight from bitmap form."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.sparse.decode import OPSET, PackedBitmap, cols_attribute
from dtc.graph.builder import FunctionBuilder

_INPUTS = {
    "values": "the values of the weight, float32 or float16 `[count]`, row by row, at least one, finite",
    "bitmap": "uint8 `[out, ceil(in / 8)]`: a bit for each weight, LSB first along the input dimension, pad bits 0",
}


def _function() -> ir.Function:
    body = FunctionBuilder(DOMAIN, list(_INPUTS), OPSET)
    given = body.inputs
    cols = cols_attribute(body)
    values = body.op("Cast", [given["values"]], to=int(ir.DataType.FLOAT))
    y = PackedBitmap(values, cols, given["bitmap"]).dense(body)
    return body.close("BitmapDequantize", y, [ir.Attr("cols", ir.AttributeType.INT, None)])


OP = Operator(
    "BitmapDequantize",
    _function,
    _INPUTS,
    {"cols": "columns of the weight, `in`"},
    "The dense weight `[out, in]`, float32.",
)
