"""What in a graph stands in the way of retraining a weight, seen without an engine.

No engine has a gradient through control flow, nor one of weights that the judged output does not depend on, or that are
no float32. Whether it has that of all other operators each engine finds out by trying.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from dtc.graph import Site
from dtc.training.selection import Paths


def find_obstacles(model: ir.Model, sites: Sequence[Site]) -> dict[str, str]:
    """Return why sites cannot be retrained, in words, by name; those are left out that nothing stands in the way of.

    The loss is taken to read the first output, as it does unless told.
    """
    paths, bodies = Paths(model.graph, model.graph.outputs[0]), _holders(model.graph)
    found = {site.name: _obstacle(site, paths, bodies) for site in sites}
    return {name: reason for name, reason in found.items() if reason is not None}


def _obstacle(site: Site, paths: Paths, bodies: dict[ir.Graph, ir.Node]) -> str | None:
    graph = site.value.graph
    if isinstance(graph, ir.Graph) and graph in bodies:
        return f"lies inside node {bodies[graph].name!r}: {bodies[graph].op_type} has no gradient"
    if site.value.dtype != ir.DataType.FLOAT:
        return f"is {str(site.value.dtype).lower()}, and float32 alone is trained"
    behind = paths.downstream(site.value)
    if not behind:
        return "the first output does not depend on it"
    node = next((node for node in behind if _has_body(node)), None)
    return None if node is None else f"lies before node {node.name!r}: {node.op_type} has no gradient"


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
