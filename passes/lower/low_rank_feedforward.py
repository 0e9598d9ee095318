"""Low-rank MatMul, Gemm, Conv and embedding Gather: two nodes for one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.graph import Reader
from dtc.passes.lower.emit import Emitter, replace_node
from dtc.passes.lower.factors import Factors, LowRankSite, apply

FIRST, SECOND = "low_rank_1", "low_rank_2"


def lower_matmul(item: LowRankSite, reader: Reader, factors: Factors, emitter: Emitter) -> None:
    """`x W` becomes `(x right^T) left^T`, and `W x` becomes `left (right x)`; stacks of matrices likewise."""
    node = reader.node
    x = node.inputs[1 - reader.index]
    assert x is not None
    if len(reader.view.perm) > 2:
        output = _stacked_matmul(item, reader, factors, emitter, x)
    else:
        first, second = factors.linear(item, reader, emitter.dtype)
        if reader.index == 1:
            output = apply(emitter, apply(emitter, x, first, FIRST), second, SECOND)
        else:
            middle = emitter.add("MatMul", [first.value, x], label=FIRST)
            output = emitter.add("MatMul", [second.value, middle], label=SECOND)
    replace_node(node, emitter, {node.outputs[0]: output})


def _stacked_matmul(item: LowRankSite, reader: Reader, factors: Factors, emitter: Emitter, x: ir.Value) -> ir.Value:
    lead = [item.site.shape[axis] for axis in reader.view.perm[:-2]]
    left, right = (np.stack([getattr(form, side) for form in item.forms]) for side in ("left", "right"))
    if reader.index == 1:
        left, right = left.swapaxes(1, 2), right.swapaxes(1, 2)
    stored_left, stored_right = (
        factors.of_site(item, tag, array.reshape(*lead, *array.shape[1:]), emitter.dtype)
        for tag, array in (("left", left), ("right", right))
    )
    if reader.index == 1:
        return emitter.add("MatMul", [emitter.add("MatMul", [x, stored_right], label=FIRST), stored_left], label=SECOND)
    return emitter.add("MatMul", [stored_left, emitter.add("MatMul", [stored_right, x], label=FIRST)], label=SECOND)


def lower_gemm(item: LowRankSite, reader: Reader, factors: Factors, emitter: Emitter) -> None:
    """Two Gemms: `transA` on the first; `alpha`, `beta` and the bias on the second."""
    node = reader.node
    first, second = factors.linear(item, reader, emitter.dtype)
    x, bias = node.inputs[0], node.inputs[2] if len(node.inputs) > 2 else None
    assert x is not None
    trans_a = node.attributes.get_int("transA", 0) or 0
    middle = emitter.gemm(x, first.value, None, {"transA": trans_a, "transB": int(first.upright)}, FIRST)
    scales = {name: node.attributes.get_float(name, 1.0) or 0.0 for name in ("alpha", "beta")}
    output = emitter.gemm(middle, second.value, bias, {**scales, "transB": int(second.upright)}, SECOND)
    replace_node(node, emitter, {node.outputs[0]: output})


def lower_conv(item: LowRankSite, reader: Reader, factors: Factors, emitter: Emitter) -> None:
    """The spatial kernel to `rank` channels a group, then a 1x1 Conv with the bias."""
    node = reader.node
    shape = [item.site.shape[axis] for axis in reader.view.perm]
    groups, spatial = len(item.forms), shape[2:]
    rank = item.forms[0].rank
    right = np.stack([form.right for form in item.forms]).reshape(groups * rank, *shape[1:])
    left = np.stack([form.left for form in item.forms]).reshape(shape[0], rank, *(1 for _ in spatial))
    first, second = (
        factors.of_site(item, tag, array, emitter.dtype) for tag, array in (("right", right), ("left", left))
    )
    x, bias = node.inputs[0], node.inputs[2:]
    attributes = {**node.attributes, "kernel_shape": ir.AttrInt64s("kernel_shape", spatial)}
    middle = emitter.add("Conv", [x, first], attributes, label=FIRST)
    pointwise = {"group": groups, "kernel_shape": [1 for _ in spatial]}
    output = emitter.add("Conv", [middle, second, *bias], pointwise, label=SECOND)
    replace_node(node, emitter, {node.outputs[0]: output})


def lower_embedding(item: LowRankSite, reader: Reader, factors: Factors, emitter: Emitter) -> None:
    """Rows of the left factor are looked up, then multiplied by the right one."""
    node = reader.node
    first, second = factors.linear(item, reader, emitter.dtype)
    rows = emitter.add("Gather", [second.value, node.inputs[1]], {"axis": 0}, label=FIRST)
    output = apply(emitter, rows, first.turned(), SECOND)
    replace_node(node, emitter, {node.outputs[0]: output})
