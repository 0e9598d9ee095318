"""`dtc.BinaryUnmask`: whole sign planes and a mask plane, from the codes of the kept weights alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.binary.decode import OPSET, float_bits
from dtc.graph.builder import Builder, FunctionBuilder

INPUTS = {
    "survivors": "uint8 [bits, bytes]: signs of the kept weights, row after row, packed LSB first, bit 1 is +1; with "
    "at least one bit more than there are kept weights",
    "mask": "uint8 [out, ceil(in / 8)]: kept weights, packed like one plane of codes, pad bits 0",
}


def unmask(
    build: Builder,
    survivors: ir.Value,
    mask: ir.Value,
    bits_of_bytes: ir.Value,
    sums_before: Callable[[ir.Value], ir.Value],
) -> ir.Value:
    """Return uint8 `[bits + 1, out, ceil(in / 8)]`: sign planes, anything where not kept, and the mask.

    `bits_of_bytes` is float `[256, 8]`; `sums_before` returns the sum of the numbers before each, int32 `[count]`.
    """

    def unpacked(packed: ir.Value, *shape: int) -> ir.Value:
        bits = build.op("Gather", [bits_of_bytes, build.op("Cast", [packed], to=ir.DataType.INT32)])
        return build.op("Reshape", [bits, build.constant(shape)])

    # The place of a kept weight's sign is the number of weights kept before it: mask 1 1 0 1 -> places 0 1 2 2. The
    # weight that is not kept reads some other sign, which the mask makes irrelevant; behind the last kept weight that
    # is one place beyond all signs, hence the spare bit of `survivors`.
    kept = build.op("Cast", [unpacked(mask, -1)], to=ir.DataType.INT32)
    place = sums_before(kept)
    # survivors [bits, bytes] -> their bits [bits, bytes * 8] -> signs [bits, out * ceil(in / 8) * 8]
    signs = build.op("Gather", [unpacked(survivors, 0, -1), place], axis=1)
    weights = build.constant(np.array([[1 << bit] for bit in range(8)], dtype=np.float32))
    flat = build.op("Reshape", [signs, build.constant([-1, 8])])
    # Eight signs [.., 8] @ [1, 2, 4, ..., 128] -> a byte: packing, in one product.
    packed = build.op("Cast", [build.op("MatMul", [flat, weights])], to=ir.DataType.UINT8)
    shape = build.op("Concat", [build.constant([-1]), build.op("Shape", [mask])], axis=0)
    planes = build.op("Reshape", [packed, shape])
    own = build.op("Reshape", [mask, build.op("Concat", [build.constant([1]), build.op("Shape", [mask])], axis=0)])
    return build.op("Concat", [planes, own], axis=0)


def function() -> ir.Function:
    """Return the body."""
    body = FunctionBuilder(DOMAIN, list(INPUTS), OPSET)

    def sums_before(numbers: ir.Value) -> ir.Value:
        return body.op("CumSum", [numbers, body.constant(np.int32(0))], exclusive=1)

    codes = unmask(body, body.inputs["survivors"], body.inputs["mask"], float_bits(body), sums_before)
    return body.close("BinaryUnmask", codes)


OP = Operator(
    "BinaryUnmask",
    function,
    INPUTS,
    {},
    "The `codes` of the other operators, uint8 [bits + 1, out, ceil(in / 8)], from the signs of kept weights alone. "
    "Runs once, when a model is loaded.",
)
