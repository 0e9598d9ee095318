"""Quantizers of activations with a gradient, which replaces the zero gradient of rounding.

The rounded activation gets the gradient of element-wise gradient scaling (J. Lee, D. Kim, B. Ham: Network quantization
with element-wise gradient scaling, CVPR 2021, arXiv 2104.00903, section 3.2), its scale that of learned step sizes (S.
Esser et al.: Learned step size quantization, ICLR 2020, arXiv 1902.08153, sections 2.1 and 2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from dtc.graph import Quantizer, find_quantizers
from dtc.graph.builder import GraphBuilder, Shared, replace_node

_MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Placeholder:
    """The operator that stands for a quantizer until the gradient is built.

    Attributes:
        node: Its name.
        output: Name of the rounded value.
        scale: The parameter that is its scale; None where that is not trained.
        lowest: The lowest level less the zero point.
        highest: The highest level less the zero point.
    """

    node: str
    output: str
    scale: str | None
    lowest: int
    highest: int


def hold_quantizers(model: ir.Model, trained: Collection[str], alias: Callable[[str], ir.Value]) -> list[Placeholder]:
    """Put in the place of every quantizer an operator whose gradient the training build does build: FakeQuant.

    Scales that are `trained` are read through an alias that is not differentiated: of the scale it builds none.
    """
    found = []
    for each in find_quantizers(model.graph):
        scale = str(each.scale.name) if each.scale.name in trained else None
        node = _fake_quant(model.graph, each, each.scale if scale is None else alias(scale))
        model.opset_imports[_MICROSOFT] = 1
        low, high = each.lowest - each.zero_point, each.highest - each.zero_point
        found.append(Placeholder(str(node.name), str(node.outputs[0].name), scale, low, high))
    return found


def expand_quantizers(
    model: ir.Model, placeholders: Sequence[Placeholder], delta: float, shared: Shared
) -> dict[str, list[ir.Value]]:
    """Write placeholders and their gradients out in the graph with gradients; return those of the trained scales.

    With x the data, s the scale, u = x / s, c = u clipped to the levels, q = round(c), Q the number of levels less
    one, n the size of a sample, and g the gradient of the rounded value s q:

    * of x: g (1 + delta sign(g) (u - q) / Q) where u is within the levels, else 0; delta 0 is straight-through;
    * of s: the sum of g (q - u) where u is within and of g q elsewhere, divided by the root of n Q.
    """
    nodes = {str(node.name): node for node in model.graph}
    values = {str(value.name): value for node in model.graph for value in node.outputs}
    gradients: dict[str, list[ir.Value]] = {}
    for each in placeholders:
        if each.node not in nodes:  # the loss does not depend on it
            continue
        node = nodes[each.node]
        build = shared.builder(each.node)
        rounding = _round(build, node, each)
        # The second output of FakeQuant, its mask, is read by the gradients that the builder made of it: these are
        # rewritten before the node goes.
        for reader in [use.node for use in node.outputs[1].uses()]:
            _expand_gradient(reader, rounding, delta / (each.highest - each.lowest), shared)
        replace_node(node, build, {node.outputs[0]: build.op("Mul", [rounding.rounded, rounding.scale])})
        if each.scale is not None:
            part = _scale_gradient(values[f"{each.output}_grad"], rounding, each, shared)
            gradients.setdefault(each.scale, []).append(part)
    return gradients


@dataclass(frozen=True, eq=False)
class _Rounding:
    """The values of the formulas: x, s, u, c, q, and 1 where u is within the levels, else 0."""

    data: ir.Value
    scale: ir.Value
    scaled: ir.Value
    clipped: ir.Value
    rounded: ir.Value
    inside: ir.Value


def _fake_quant(graph: ir.Graph, quantizer: Quantizer, scale: ir.Value) -> ir.Node:
    name = f"{quantizer.quantize.name}::FakeQuant"
    # Its third input and its attributes do not matter: it never runs.
    node = ir.node("FakeQuant", [quantizer.data, scale, scale], domain=_MICROSOFT, num_outputs=2, name=name)
    rounded, mask = node.outputs
    rounded.name, mask.name = f"{name}:0", f"{name}:1"
    rounded.type, mask.type = ir.TensorType(ir.DataType.FLOAT), ir.TensorType(ir.DataType.BOOL)
    rounded.shape = mask.shape = quantizer.data.shape
    graph.insert_before(quantizer.quantize, node)
    for reader in quantizer.dequantize:
        ir.convenience.replace_all_uses_with(reader.outputs[0], rounded)
    return node


def _round(build: GraphBuilder, node: ir.Node, levels: Placeholder) -> _Rounding:
    # Levels -8 to 7, s = 0.5, x = [0.6, 9]: u = [1.2, 18], c = [1.2, 7], q = [1, 7], inside = [1, 0], y = s q = [0.5,
    # 3.5].
    data, scale = node.inputs[:2]
    assert data is not None
    assert scale is not None
    scaled = build.op("Div", [data, scale])
    clipped = build.clip(scaled, float(levels.lowest), float(levels.highest))
    rounded = build.op("Round", [clipped])
    inside = build.op("Cast", [build.op("Equal", [scaled, clipped])], to=int(ir.DataType.FLOAT))
    return _Rounding(data, scale, scaled, clipped, rounded, inside)


def _expand_gradient(node: ir.Node, rounding: _Rounding, delta: float, shared: Shared) -> None:
    """Put the scaled gradient in the place of a FakeQuantGrad."""
    build, gradient = shared.builder(str(node.name)), node.inputs[0]
    if delta:
        # g sign(g) is |g|; what was clipped has no rounding error.
        error = build.op("Mul", [build.op("Sub", [rounding.clipped, rounding.rounded]), build.constant(delta)])
        gradient = build.op("Add", [gradient, build.op("Mul", [build.op("Abs", [gradient]), error])])
    result = build.op("Mul", [gradient, rounding.inside])
    replace_node(node, build, {node.outputs[0]: result})


def _scale_gradient(gradient: ir.Value, rounding: _Rounding, levels: Placeholder, shared: Shared) -> ir.Value:
    """Append the gradient of a scale, one number."""
    producer = gradient.producer()
    assert producer is not None
    assert isinstance(producer.graph, ir.Graph)
    scale = rounding.scale
    build = shared.builder(levels.node)
    # q - u inside, q elsewhere: in the example of `_round` [1 - 1.2, 7] = [-0.2, 7].
    error = build.op("Sub", [rounding.rounded, build.op("Mul", [rounding.inside, rounding.scaled])])
    total = build.op("ReduceSum", [build.op("Mul", [gradient, error])], keepdims=0)
    # n is the size of x without its first axis, the samples: batches of any size give steps of the same length (section
    # 2.2).
    first = build.op("Gather", [build.op("Shape", [rounding.data]), build.constant(0)])
    sample = build.op("Cast", [build.op("Div", [build.op("Size", [rounding.data]), first])], to=int(ir.DataType.FLOAT))
    count = build.op("Mul", [sample, build.constant(float(levels.highest - levels.lowest))])
    shape = () if scale.shape is None else scale.shape.numpy()
    result = build.op("Reshape", [build.op("Div", [total, build.op("Sqrt", [count])]), build.constant(list(shape))])
    producer.graph.extend(build.nodes)
    return result
