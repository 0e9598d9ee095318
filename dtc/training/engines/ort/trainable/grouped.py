"""Grouped convolutions in other than two dimensions, as convolutions that the training build differentiates rightly.

The gradient of a grouped Conv in one or three dimensions writes beyond its buffers there: other gradients come out
wrong without a word, or the process dies later.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from dtc.graph.builder import Shared, replace_node


def expand_grouped(model: ir.Model, shared: Shared) -> None:
    """Rewrite every grouped Conv in one or three dimensions; its padding must be explicit."""
    for node in list(model.graph):
        if node.op_type != "Conv" or node.domain or (node.attributes.get_int("group", 1) or 1) == 1:
            continue
        weight = node.inputs[1]
        rank = None if weight is None or weight.shape is None else len(weight.shape) - 2
        if rank == 1:
            _widen(node, shared)
        elif rank == 3:
            _separate(node, shared)


def _widen(node: ir.Node, shared: Shared) -> None:
    """Convolve in two dimensions: x `[N, C, L]` as `[N, C, 1, L]`, the weight `[M, C / g, k]` as `[M, C / g, 1, k]`."""
    data, weight, *bias = node.inputs
    assert data is not None
    assert weight is not None
    build = shared.builder(str(node.name))
    start, end = (int(pad) for pad in node.attributes.get_ints("pads", ()) or (0, 0))
    result = build.op(
        "Conv",
        [build.unsqueeze(data, [2]), build.unsqueeze(weight, [2]), *bias],
        pads=[0, start, 0, end],
        strides=[1, *(node.attributes.get_ints("strides", ()) or (1,))],
        dilations=[1, *(node.attributes.get_ints("dilations", ()) or (1,))],
        group=node.attributes.get_int("group", 1),
    )
    replace_node(node, build, {node.outputs[0]: build.squeeze(result, [2])})


def _separate(node: ir.Node, shared: Shared) -> None:
    """Convolve each group by itself: a group of the channels with a group of the kernels, and of the bias."""
    group = int(node.attributes.get_int("group", 1) or 1)
    build = shared.builder(str(node.name))
    given = [(value, axis) for value, axis in zip(node.inputs, (1, 0, 0), strict=False) if value is not None]
    parts = [build.split_evenly(value, group, axis) for value, axis in given]
    attributes = {name: node.attributes[name] for name in ("pads", "strides", "dilations") if name in node.attributes}
    told: dict[str, Any] = {name: list(attribute.as_ints()) for name, attribute in attributes.items()}
    results = [build.op("Conv", list(inputs), **told) for inputs in zip(*parts, strict=True)]
    replace_node(node, build, {node.outputs[0]: build.concat(results, 1)})
