"""The values of a model by the graph that they stand in, so that those of two models can be paired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import onnx_ir as ir

Key: TypeAlias = tuple[tuple[str, ...], str]
"""The way to a graph, by what its control-flow nodes write, and the name of a value there."""


@dataclass(frozen=True, eq=False)
class Scopes:
    """All values of a model that have a name.

    Attributes:
        values: By key.
        keys: The key of each.
        active: Those that depend on an input of the model, or on a step of a loop; the others are constant.
    """

    values: dict[Key, ir.Value] = field(default_factory=dict)
    keys: dict[ir.Value, Key] = field(default_factory=dict)
    active: set[ir.Value] = field(default_factory=set)

    @classmethod
    def of(cls, model: ir.Model) -> Scopes:
        """Look at all graphs of a model."""
        found = cls()
        found._visit(model.graph, ())
        return found

    def _visit(self, graph: ir.Graph, path: tuple[str, ...]) -> None:
        initializers = set(graph.initializers.values())
        for value in (*graph.inputs, *initializers):
            self._note(value, path, active=value not in initializers)
        for node in graph:
            for name, body in bodies(node):
                self._visit(body, (*path, str(node.outputs[0].name), name))
            active = any(value in self.active for value in (*node.inputs, *outer_values(node)))
            for value in node.outputs:
                self._note(value, path, active=active)

    def _note(self, value: ir.Value, path: tuple[str, ...], *, active: bool) -> None:
        if active:
            self.active.add(value)
        if value.name:
            self.values[path, value.name] = value
            self.keys[value] = (path, value.name)


def paired(first: Scopes, second: Scopes, stands_for: Mapping[str, str]) -> dict[ir.Value, ir.Value]:
    """Return the values of the first model that the second one has too, each with its counterpart.

    It has the same name, or the one that `stands_for` tells of values of the second model; "" is no value's.
    """
    others = {(path, stands_for.get(name, name)): value for (path, name), value in second.values.items()}
    return {value: others[key] for key, value in first.values.items() if key in others}


def bodies(node: ir.Node) -> Iterator[tuple[str, ir.Graph]]:
    """Yield the graphs that a node holds, each with the name of its attribute."""
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type is ir.AttributeType.GRAPH:
            yield attribute.name, attribute.as_graph()
        elif attribute.type is ir.AttributeType.GRAPHS:
            for number, body in enumerate(attribute.as_graphs()):
                yield f"{attribute.name}.{number}", body


def outer_values(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the values around a node that the graphs within it read."""
    for _, body in bodies(node):
        inside = {body, *body.subgraphs()}
        read = (value for each in ir.traversal.RecursiveGraphIterator(body) for value in each.inputs)
        for value in (*read, *body.outputs):
            if value is not None and value.graph not in inside:
                yield value
