"""Codes of 8 bits, and activations whose levels no samples tell: rounded as they come, with one scale for all of them.

`DynamicQuantizeLinear`, `MatMulInteger` and what scales the sums, in standard operators, which ONNX Runtime makes a
`DynamicQuantizeMatMul` of.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from dtc.graph import Site
from dtc.graph.builder import GraphBuilder, insert_first, replace_node
from dtc.graph.opset import opset_of, too_old
from dtc.passes.lower.binary.integers import whole_steps
from dtc.passes.lower.binary.parts import Planes
from dtc.passes.lower.decode import arranged, feed_readers
from dtc.passes.lower.lowered import Compressed, Lowered, ReadBy
from dtc.passes.lower.packed_numbers import store_as_floats
from dtc.passes.lower.readers import Unfit, product_of
from dtc.passes.lower.rewriting import Rewriting

OPSET = 11
"""The first one with DynamicQuantizeLinear."""

REASON = "in integers of 8 bits, to which what it is multiplied with is rounded as it comes"
TOLERANCE = 5e-2
"""Relative L2 of the outputs: what the rounding of activations to 8 bits may make of its own error, near 0.01."""
BECAUSE = "what weights are multiplied with is rounded to 8 bits"

SMALLEST, MANY = 1 << 18, 16
"""Weights of a matrix from which rounding what it is multiplied with takes less than integers save; of so many rows, a
sixteenth of that. Measured on a Xeon with AMX: 512 x 512 is 1.3 times as fast for a row, 128 x 128 1.1 times for 20."""


def unfit_dynamic(rewriting: Rewriting, item: Compressed, site: Site, planes: Planes) -> str | None:
    """Return why a site is not multiplied in integers of 8 bits with activations that are rounded as they come."""
    if not (item.rounds_inputs and rewriting.target.integers):
        return "it is not to round what it is multiplied with"
    old = too_old(opset_of(rewriting.model), OPSET)
    if old is not None:
        return f"rounding what comes {old}"
    if site.size < (SMALLEST if (site.rows or 1) < MANY else SMALLEST // MANY):
        return f"{site.size} weights are multiplied faster than what they are multiplied with is rounded"
    if whole_steps(planes) is None:
        return "it has no levels of 8 bits"
    products = (product_of(reader, site) for reader in site.readers)
    return next((product.reason for product in products if isinstance(product, Unfit)), None)


def lower_to_dynamic(rewriting: Rewriting, item: Compressed, planes: Planes) -> Lowered:
    """Let all readers of a site, which are products (`unfit_dynamic`), multiply its codes with what they round."""
    site, even, steps = rewriting.current(item.site), planes.even, whole_steps(planes)
    assert even is not None, "asked before"
    assert steps is not None, "asked before"
    front = rewriting.front(site)
    # [in, out], as MatMulInteger takes them.
    codes = front.initializer("codes", np.ascontiguousarray(steps.T))
    scale = rewriting.joint.share(site, "channel scales", even.scale[:, 0], partial(store_as_floats, name="scales"))
    told = tuple(ReadBy.of(reader, "integers", REASON) for reader in site.readers)
    for reader in site.readers:
        product = product_of(reader, site)
        assert not isinstance(product, Unfit), "asked before"
        builder = rewriting.builder(site, reader)
        output = product.finish(builder, _multiply(builder, product.operand(builder), codes, scale))
        replace_node(reader.node, builder, {reader.node.outputs[0]: output})

    def dense() -> ir.Value:
        weight = front.op("Mul", [front.op("Cast", [codes], to=ir.DataType.FLOAT), scale])
        return arranged(front, weight, site, shape=(planes.cols, len(planes.form.levels)), transposed=True)

    feed_readers(site, dense)  # an output of the graph
    insert_first(front)
    return Lowered(item.site, item.forms, told, tolerance=TOLERANCE, because=BECAUSE)


def _multiply(builder: GraphBuilder, x: ir.Value, codes: ir.Value, scale: ir.Value) -> ir.Value:
    """Return `x [..., in] W^T` of a rounded x."""
    rounded, step, zero = builder.ops("DynamicQuantizeLinear", [x], 3)
    sums = builder.op("Cast", [builder.op("MatMulInteger", [rounded, codes, zero])], to=ir.DataType.FLOAT)
    return builder.op("Mul", [sums, builder.op("Mul", [step, scale])])
