"""Low-rank products, convolutions and embedding Gather: two nodes for one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.forms import Array
from dtc.graph import MatrixView, Reader, Role, view_of
from dtc.graph.builder import GraphBuilder, replace_node
from dtc.graph.einsum import Contraction, Letters, contraction, written
from dtc.passes.lower.low_rank.factors import Factors, LowRankSite, Side, apply
from dtc.passes.lower.readers import Lookup, Multiplication

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
    """Replace a Gemm by two: the other factor's transposition on the first; `alpha`, `beta`, the bias on the second."""
    product = Multiplication.of(reader)
    assert isinstance(product, Multiplication), "a Gemm is one"
    first, second = factors.linear(item, reader, builder.dtype)
    given, scale = int(product.transposed), {"alpha": product.alpha, "beta": product.beta}
    if product.left:
        turned, again = int(not first.upright), int(not second.upright)
        middle = builder.gemm(first.value, product.x, transA=turned, transB=given, label=FIRST)
        output = builder.gemm(second.value, middle, product.bias, transA=again, label=SECOND, **scale)
    else:
        turned, again = int(first.upright), int(second.upright)
        middle = builder.gemm(product.x, first.value, transA=given, transB=turned, label=FIRST)
        output = builder.gemm(middle, second.value, product.bias, transB=again, label=SECOND, **scale)
    replace_node(reader.node, builder, {reader.node.outputs[0]: output})


def lower_einsum(item: LowRankSite, reader: Reader, factors: Factors, builder: GraphBuilder) -> None:
    """Replace an Einsum by two, with a letter for the rank between them: `bi,io->bo` by `bi,ai->ba` and `ba,oa->bo`."""
    node = reader.node
    found = contraction(node, reader.index, len(reader.perm))
    assert isinstance(found, Contraction), "found as a site"
    sizes, rank = dict(zip(found.weight, reader.shape, strict=True)), found.new_letter()
    sizes[rank] = item.forms[0].rank
    right, left = (*found.batch, rank, *found.into), (*found.batch, *found.out, rank)
    sides: tuple[tuple[Side, Letters], ...] = (("right", right), ("left", left))
    arrays = {side: np.stack([getattr(form, side) for form in item.forms]) for side, _ in sides}
    stored_right, stored_left = (
        factors.of_site(item, side, arrays[side].reshape([sizes[x] for x in letters]), builder.dtype, item.part(side))
        for side, letters in sides
    )
    # All of the other operands in the first, which has all letters of the result but those of the rows of W.
    between = (*(letter for letter in found.output if letter not in found.out), rank)
    operands = (*found.others[: reader.index], right, *found.others[reader.index :])
    inputs = [stored_right if index == reader.index else value for index, value in enumerate(node.inputs)]
    middle = builder.op("Einsum", inputs, label=FIRST, equation=written(operands, between))
    last = written((between, left), found.output)
    output = builder.op("Einsum", [middle, stored_left], label=SECOND, equation=last)
    replace_node(node, builder, {node.outputs[0]: output})


def lower_conv(item: LowRankSite, reader: Reader, factors: Factors, builder: GraphBuilder) -> None:
    """Replace a convolution by one of the same kind and kernel to `rank` channels a group, and a 1x1 Conv.

    That of the second has the bias.
    """
    node, seen, (groups, rank) = reader.node, reader.shape, (len(item.forms), item.forms[0].rank)
    spatial, ones = seen[2:], [1 for _ in seen[2:]]
    # A kernel [out, in / groups, 3, 3] is `groups` matrices [out / groups, 9 in / groups]. right [groups rank, in /
    # groups, 3, 3], left [out, rank, 1, 1]: each group keeps its own `rank` channels between the two. The kernel of a
    # ConvTranspose is [in, out / groups, 3, 3], and right [in, rank, 3, 3].
    size = (seen[0], rank, *spatial) if reader.role is Role.CONV_TRANSPOSE else (groups * rank, *seen[1:])
    view = view_of(node, reader.role, reader.index, size)
    assert isinstance(view, MatrixView), "a kernel of fewer channels"
    right = view.restore(np.stack([form.right for form in item.forms]), size)
    left = np.concatenate([form.left for form in item.forms]).reshape(-1, rank, *ones)
    first = factors.of_site(item, "right", right, builder.dtype, replace(item.part("right"), as_read=True))
    second = factors.of_site(item, "left", left, builder.dtype, item.part("left"))
    bias = 3 if reader.role is Role.DEFORM_CONV else 2
    inputs = [first if index == 1 else value for index, value in enumerate(node.inputs)]
    attributes: dict[str, Any] = {**node.attributes, "kernel_shape": ir.AttrInt64s("kernel_shape", spatial)}
    # Strides, padding and dilations are those of the spatial kernel; they would act twice on the second Conv.
    unbiased = [*inputs[:bias], None, *inputs[bias + 1 :]] if len(inputs) > bias + 1 else inputs[:bias]
    middle = builder.op(node.op_type, unbiased, label=FIRST, **attributes)
    operands = [middle, second, *inputs[bias : bias + 1]]
    output = builder.op("Conv", operands, label=SECOND, group=groups, kernel_shape=ones)
    replace_node(node, builder, {node.outputs[0]: output})


def lower_embedding(item: LowRankSite, reader: Reader, factors: Factors, builder: GraphBuilder) -> None:
    """Look up rows of the left factor, then multiply them by the right one: `[...]` ids, `[..., rank]`, `[..., in]`."""
    node = reader.node
    first, second = factors.linear(item, reader, builder.dtype)
    rows = builder.op("Gather", [second.value, node.inputs[1]], axis=0, label=FIRST)
    lookup = Lookup.of(reader)
    assert isinstance(lookup, Lookup), "another Gather was refused"
    output = lookup.finish(builder, apply(builder, rows, first.turned(), SECOND))
    replace_node(node, builder, {node.outputs[0]: output})
