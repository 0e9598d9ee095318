"""`dtc.BinaryUnmask`: whole sign planes and a mask plane, from the codes of the kept weights alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops import Body, Operator
from dtc.deploy.ops.binary.decode import OPSET, Emitter, byte_bits, integers

INPUTS = {
    "survivors": "uint8 [bits, bytes]: signs of the kept weights, row after row, packed LSB first, bit 1 is +1; with "
    "at least one bit more than there are kept weights",
    "mask": "uint8 [out, ceil(in / 8)]: kept weights, packed like one plane of codes, pad bits 0",
}


def unmask(e: Emitter, survivors: ir.Value, mask: ir.Value, bits_of_bytes: ir.Value) -> ir.Value:
    """Return uint8 `[bits + 1, out, ceil(in / 8)]`: sign planes, anything where not kept, and the mask."""

    def unpacked(packed: ir.Value, *shape: int) -> ir.Value:
        bits = e.op("Gather", [bits_of_bytes, e.op("Cast", [packed], to=ir.DataType.INT32)])
        return e.op("Reshape", [bits, e.constant(integers(*shape))])

    # How many are kept before a weight is where its sign stands, if it is kept itself.
    kept = e.op("Cast", [unpacked(mask, -1)], to=ir.DataType.INT32)
    place = e.op("CumSum", [kept, e.constant(np.int32(0))], exclusive=1)
    signs = e.op("Gather", [unpacked(survivors, 0, -1), place], axis=1)
    one, zero = e.constant(np.float32(1)), e.constant(np.uint8(0))
    weights = e.constant(np.array([[1 << bit] for bit in range(8)], dtype=np.uint8))
    flat = e.op("Reshape", [signs, e.constant(integers(-1, 8))])
    packed = e.op("QLinearMatMul", [flat, one, zero, weights, one, zero, one, zero])
    shape = e.op("Concat", [e.constant(integers(-1)), e.op("Shape", [mask])], axis=0)
    planes = e.op("Reshape", [packed, shape])
    own = e.op("Reshape", [mask, e.op("Concat", [e.constant(integers(1)), e.op("Shape", [mask])], axis=0)])
    return e.op("Concat", [planes, own], axis=0)


def function() -> ir.Function:
    """Return the body."""
    body = Body(list(INPUTS), OPSET)
    codes = unmask(body, body.inputs["survivors"], body.inputs["mask"], byte_bits(body))
    return body.close("BinaryUnmask", codes)


OP = Operator(
    "BinaryUnmask",
    function,
    INPUTS,
    {},
    "The `codes` of the other operators, uint8 [bits + 1, out, ceil(in / 8)], from the signs of kept weights alone. "
    "Runs once, when a model is loaded.",
)
