"""Low-rank MatMul, Gemm, Conv and embedding Gather: two nodes for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.forms import Array
from dtc.graph import Reader
from dtc.graph.builder import GraphBuilder, replace_node
from dtc.passes.lower.low_rank.factors import Factors, LowRankSite, Side, apply
from dtc.passes.lower.readers import Multiplication

FIRST, SECOND = "low_rank_1", "low_rank_2"


def lower_matmul(item: LowRankSite, reader: Reader, factors: Factors, builder: GraphBuilder) -> None:
    """Replace `x W` by `(x right^T) left^T`, and `W x` by `left (right x)`; stacks of matrices likewise."""
    node = reader.node
    x = node.inputs[1 - reader.index]
    assert x is not None
    if len(reader.view.perm) > 2:
        output = _stacked_matmul(item, reader, factors, builder, x)
    else:
        first, second = factors.linear(item, reader, builder.dtype)
        if reader.index == 1:
            output = apply(builder, apply(builder, x, first, FIRST), second, SECOND)
        else:
            middle = builder.op("MatMul", [first.value, x], label=FIRST)
            output = builder.op("MatMul", [second.value, middle], label=SECOND)
    replace_node(node, builder, {node.outputs[0]: output})


def _stacked_matmul(
    item: LowRankSite, reader: Reader, factors: Factors, builder: GraphBuilder, x: ir.Value
) -> ir.Value:
    """Add both products of a stack of matrices, and return the node's new output."""
    # A weight [2, 3, in, out] is six matrices: left [6, out, rank] and right [6, rank, in]. As second operand of MatMul
    # both are transposed: left [2, 3, rank, out], right [2, 3, in, rank].
    lead = [item.site.shape[axis] for axis in reader.view.perm[:-2]]
    left, right = (np.stack([getattr(form, side) for form in item.forms]) for side in ("left", "right"))
    if reader.index == 1:
        left, right = left.swapaxes(1, 2), right.swapaxes(1, 2)
    sides: tuple[tuple[Side, Array], ...] = (("left", left), ("right", right))
    stored_left, stored_right = (
        factors.of_site(
            item,
            side,
            array.reshape(*lead, *array.shape[1:]),
            builder.dtype,
            item.part(side, transposed=reader.index == 1),
        )
        for side, array in sides
    )
    if reader.index == 1:
        return builder.op("MatMul", [builder.op("MatMul", [x, stored_right], label=FIRST), stored_left], label=SECOND)
    return builder.op("MatMul", [stored_left, builder.op("MatMul", [stored_right, x], label=FIRST)], label=SECOND)


def lower_gemm(item: LowRankSite, reader: Reader, factors: Factors, builder: GraphBuilder) -> None:
    """Replace a Gemm by two: `transA` on the first; `alpha`, `beta` and the bias on the second."""
    product = Multiplication.of(reader)
    assert isinstance(product, Multiplication), "a Gemm is one"
    first, second = factors.linear(item, reader, builder.dtype)
    middle = builder.gemm(
        product.x, first.value, transA=int(product.transposed), transB=int(first.upright), label=FIRST
    )
    output = builder.gemm(
        middle,
        second.value,
        product.bias,
        alpha=product.alpha,
        beta=product.beta,
        transB=int(second.upright),
        label=SECOND,
    )
    replace_node(reader.node, builder, {reader.node.outputs[0]: output})


def lower_conv(item: LowRankSite, reader: Reader, factors: Factors, builder: GraphBuilder) -> None:
    """Replace a Conv by one of the same kernel to `rank` channels a group, and a 1x1 Conv with the bias."""
    node = reader.node
    shape = [item.site.shape[axis] for axis in reader.view.perm]
    groups, spatial = len(item.forms), shape[2:]
    rank = item.forms[0].rank
    # A kernel [out, in / groups, 3, 3] is `groups` matrices [out / groups, 9 in / groups]. right [groups rank, in /
    # groups, 3, 3], left [out, rank, 1, 1]: each group keeps its own `rank` channels between the two.
    right = np.stack([form.right for form in item.forms]).reshape(groups * rank, *shape[1:])
    left = np.stack([form.left for form in item.forms]).reshape(shape[0], rank, *(1 for _ in spatial))
    first = factors.of_site(item, "right", right, builder.dtype, item.part("right"))
    second = factors.of_site(item, "left", left, builder.dtype, item.part("left"))
    x, bias = node.inputs[0], node.inputs[2:]
    attributes: dict[str, Any] = {**node.attributes, "kernel_shape": ir.AttrInt64s("kernel_shape", spatial)}
    # Strides, padding and dilations are those of the spatial kernel; they would act twice on the second Conv.
    middle = builder.op("Conv", [x, first], label=FIRST, **attributes)
    output = builder.op("Conv", [middle, second, *bias], label=SECOND, group=groups, kernel_shape=[1 for _ in spatial])
    replace_node(node, builder, {node.outputs[0]: output})


def lower_embedding(item: LowRankSite, reader: Reader, factors: Factors, builder: GraphBuilder) -> None:
    """Look up rows of the left factor, then multiply them by the right one: `[...]` ids, `[..., rank]`, `[..., in]`."""
    node = reader.node
    first, second = factors.linear(item, reader, builder.dtype)
    rows = builder.op("Gather", [second.value, node.inputs[1]], axis=0, label=FIRST)
    output = apply(builder, rows, first.turned(), SECOND)
    replace_node(node, builder, {node.outputs[0]: output})
