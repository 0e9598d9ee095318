"""Roots with a gradient of 0 at 0, where it would be infinite, and no number once the chain rule multiplies it by 0."""

from __future__ import annotations

import onnx_ir as ir

from dtc.graph.builder import Shared, replace_node


def expand_roots(model: ir.Model, shared: Shared) -> None:
    """Rewrite Sqrt, and Pow by a constant between 0 and 1, as the root of 1 wherever x is 0, and 0 put there."""
    for node in list(model.graph):
        x = node.inputs[0] if node.inputs else None
        if x is not None and _is_root(node):
            build = shared.builder(str(node.name))
            at_zero = build.op("Equal", [x, build.constant(0.0)])
            away = build.op("Where", [at_zero, build.constant(1.0), x])
            root = build.op(node.op_type, [away, *node.inputs[1:]])
            replace_node(node, build, {node.outputs[0]: build.op("Where", [at_zero, build.constant(0.0), root])})


def _is_root(node: ir.Node) -> bool:
    x = node.inputs[0]
    if node.domain != "" or x is None or x.dtype not in (ir.DataType.FLOAT, None):
        return False
    if node.op_type != "Pow" or node.inputs[1] is None:
        return node.op_type == "Sqrt"
    exponent = ir.convenience.get_const_tensor(node.inputs[1])
    return exponent is not None and exponent.size == 1 and 0 < float(exponent.numpy().reshape(())) < 1
