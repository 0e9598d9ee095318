"""What in a graph stands in the way of retraining a weight, seen without an engine.

Not every engine has a gradient through control flow; none has one of weights that the judged output does not depend
on, or that are no float32. Whether it has that of all other operators each engine finds out by trying.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from dtc.graph import Site
from dtc.training.engine_kind import ranked_engines
from dtc.training.selection import Paths


@dataclass(frozen=True)
class Obstacle:
    """What stands in the way of retraining a weight.

    Attributes:
        reason: In words.
        engines: The names of the engines that train the weight all the same.
    """

    reason: str
    engines: tuple[str, ...] = ()


def find_obstacles(model: ir.Model, sites: Sequence[Site]) -> dict[str, Obstacle]:
    """Return what stands in the way of retraining sites, by name; others nothing does.

    The loss is taken to read the first output, as it does unless told.
    """
    paths, bodies = Paths(model.graph, model.graph.outputs[0]), _holders(model.graph)
    found = {site.name: _obstacle(site, paths, bodies) for site in sites}
    return {name: obstacle for name, obstacle in found.items() if obstacle is not None}


def _obstacle(site: Site, paths: Paths, bodies: dict[ir.Graph, ir.Node]) -> Obstacle | None:
    if site.value.dtype != ir.DataType.FLOAT:
        return Obstacle(f"is {str(site.value.dtype).lower()}, and float32 alone is trained")
    graph = site.value.graph
    if isinstance(graph, ir.Graph) and graph in bodies:
        return _control_flow("lies inside", bodies[graph])
    behind = paths.downstream(site.value)
    if not behind:
        return Obstacle("the first output does not depend on it")
    node = next((node for node in behind if _has_body(node)), None)
    return None if node is None else _control_flow("lies before", node)


def _control_flow(place: str, node: ir.Node) -> Obstacle:
    """Return that a weight lies inside or before a node with bodies, and who has the gradient of that."""
    able = tuple(kind.name for kind in ranked_engines() if kind.control_flow)
    return Obstacle(f"{place} node {node.name!r}: not every engine has a gradient of {node.op_type}", able)


def _holders(graph: ir.Graph) -> dict[ir.Graph, ir.Node]:
    """Return the node of the main graph that holds each body, or a body within that."""
    found: dict[ir.Graph, ir.Node] = {}
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                body = attribute.as_graph()
                found |= dict.fromkeys((body, *body.subgraphs()), node)
    return found


def _has_body(node: ir.Node) -> bool:
    return any(each.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for each in node.attributes.values())
