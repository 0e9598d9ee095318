"""Which values a gradient of the loss reaches, and what stands in the way of the others."""

from __future__ import annotations

import onnx_ir as ir

from dtc.training.engines.torch.calls import OPERATORS

_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE, None})

Obstacles = dict[ir.Value, ir.Node | None]


def obstacles(graph: ir.Graph, target: ir.Value) -> Obstacles:
    """Return every value that the target depends on, with the node that no gradient passes on the way to it.

    None where there is a way without such a node. Values inside of the graphs of nodes are among them.
    """
    found: Obstacles = {target: None}
    _walk(graph, found)
    return found


def _walk(graph: ir.Graph, found: Obstacles) -> None:
    for node in reversed(list(graph)):
        reached = [value for value in node.outputs if value in found]
        if not reached:
            continue
        obstacle = _obstacle(node, reached, found)
        for value in node.inputs:
            if value is not None:
                _note(found, value, obstacle)
        # What a body gives is what the node gives, if not always the same number of them: all are taken for reached.
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                body = attribute.as_graph()
                for value in body.outputs:
                    _note(found, value, obstacle)
                _walk(body, found)


def _obstacle(node: ir.Node, reached: list[ir.Value], found: Obstacles) -> ir.Node | None:
    """Return what stops the gradient on its way from the `reached` outputs of a node to its inputs."""
    implementation = OPERATORS.get(node)
    if implementation is None or not implementation.differentiable:
        return node
    # A gradient passes where floats come out: not a Cast to integers.
    floats = [value for value in reached if value.dtype in _FLOATS]
    if not floats:
        return node
    return None if any(found[value] is None for value in floats) else found[floats[0]]


def _note(found: Obstacles, value: ir.Value, obstacle: ir.Node | None) -> None:
    """A way without an obstacle counts more than one with an obstacle."""
    if value not in found or obstacle is None:
        found[value] = obstacle
