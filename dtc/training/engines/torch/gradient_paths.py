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
        operator = OPERATORS.get(node)
        # A gradient passes a node that has one, and out of which floats come: not a Cast to integers.
        blocked = operator is None or not operator.differentiable
        passing = [found[value] for value in reached if value.dtype in _FLOATS and found[value] is None]
        obstacle = node if blocked or (not passing and None in (found[v] for v in reached)) else None
        if not blocked and not passing:
            obstacle = next((found[value] for value in reached if found[value] is not None), node)
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


def _note(found: Obstacles, value: ir.Value, obstacle: ir.Node | None) -> None:
    """A way without an obstacle counts more than one with an obstacle."""
    if value not in found or obstacle is None:
        found[value] = obstacle
