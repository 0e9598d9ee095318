"""Names of weights, told apart across graphs: two branches may each own an initializer of the same name."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir


def separate_names(model: ir.Model) -> None:
    """Rename constants of inner graphs whose name another graph uses too, in place.

    Two branches of `If` that both own `K`, after the main graph's node `choice`: the second one's becomes
    `choice.then_branch/K`, the first one's keeps its name. Names within a body are nobody else's business.
    """
    taken = _own_names(model.graph)
    known = {value.name for graph in (model.graph, *model.graph.subgraphs()) for value in _values(graph)}
    for path, graph in _bodies(model.graph):
        for value in [value for value in _constants(graph) if value.name in taken]:
            name = _free(f"{path}/{value.name}", known)
            known.add(name)
            value.name = name
        taken |= _own_names(graph)


def _free(name: str, known: set[str | None]) -> str:
    number = 2
    free = name
    while free in known:
        free, number = f"{name}_{number}", number + 1
    return free


def _bodies(graph: ir.Graph) -> Iterator[tuple[str, ir.Graph]]:
    """Yield the graphs within a graph, outer before inner, each with the way to it."""
    waiting = [("", graph)]
    for path, outer in waiting:  # grows as bodies are found
        for number, node in enumerate(outer):
            for attribute in node.attributes.values():
                for body in _graphs_of(attribute):
                    inner = f"{path}{node.name or f'{node.op_type}_{number}'}.{attribute.name}"
                    yield inner, body
                    waiting.append((f"{inner}/", body))


def _graphs_of(attribute: ir.Attr) -> list[ir.Graph]:
    if attribute.is_ref():
        return []
    if attribute.type is ir.AttributeType.GRAPH:
        return [attribute.as_graph()]
    return list(attribute.as_graphs()) if attribute.type is ir.AttributeType.GRAPHS else []


def _constants(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.initializers.values()
    for node in graph:
        if node.op_type == "Constant" and node.domain == "":
            yield from node.outputs


def _own_names(graph: ir.Graph) -> set[str | None]:
    return {value.name for value in _constants(graph)}


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs
