"""Walking an onnx-ir model: all of its graphs and nodes, and the value that a chain of Identity nodes repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

import onnx_ir as ir

Undo: TypeAlias = Callable[[], None]

# Nodes that hand their first input on unchanged when the model is deployed.
PASS_THROUGH = frozenset({"Identity", "Dropout"})


def all_graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """Yield the main graph and the bodies of `If`, `Loop` and `Scan`, outer before inner."""
    yield model.graph
    yield from model.graph.subgraphs()


def nesting(model: ir.Model) -> dict[ir.Graph, tuple[ir.Graph, ...]]:
    """Return for every graph the path of graphs whose values may be read in it, the main graph first, itself last."""
    # Main graph with an If whose branch holds a Loop: {main: (main,), branch: (main, branch), body: (main, branch,
    # body)}.
    paths: dict[ir.Graph, tuple[ir.Graph, ...]] = {model.graph: (model.graph,)}
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        for node in graph:
            for attribute in node.attributes.values():
                bodies = [attribute.as_graph()] if attribute.type is ir.AttributeType.GRAPH else []
                if attribute.type is ir.AttributeType.GRAPHS:
                    bodies = list(attribute.as_graphs())
                for body in bodies:
                    paths[body] = (*paths[graph], body)
                waiting.extend(bodies)
    return paths


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Yield every node of the main graph and its subgraphs."""
    return iter(model.graph.all_nodes())


def nodes_with_functions(model: ir.Model) -> Iterator[ir.Node]:
    """Yield every node of all graphs, then those of the functions."""
    yield from all_nodes(model)
    for function in model.functions.values():
        yield from function.all_nodes()


def all_tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Yield every tensor that the model holds: initializers, and the tensors of its nodes, functions included."""
    for graph in all_graphs(model):
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value.const_value
    for node in nodes_with_functions(model):
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                yield attribute.as_tensor()


def replace_tensors(model: ir.Model, make: Callable[[ir.TensorProtocol], ir.TensorProtocol]) -> list[Undo]:
    """Put what `make` returns in the place of every tensor that `all_tensors` yields; return what puts them back."""
    undo: list[Undo] = []
    for graph in all_graphs(model):
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and (made := make(tensor)) is not tensor:
                undo.append(partial(setattr, value, "const_value", tensor))
                value.const_value = made
    for node in nodes_with_functions(model):
        for name, attribute in list(node.attributes.items()):
            if attribute.type != ir.AttributeType.TENSOR or attribute.is_ref():
                continue
            if (made := make(attribute.as_tensor())) is not attribute.as_tensor():
                undo.append(partial(node.attributes.__setitem__, name, attribute))
                node.attributes[name] = ir.AttrTensor(name, made, attribute.doc_string)
    return undo


@contextmanager
def replaced_tensors(model: ir.Model, make: Callable[[ir.TensorProtocol], ir.TensorProtocol]) -> Iterator[None]:
    """Have other tensors in a model for a while."""
    undo = replace_tensors(model, make)
    try:
        yield
    finally:
        for put_back in undo:
            put_back()


def find_initializer(model: ir.Model, name: str) -> ir.Value | None:
    """Return the initializer of that name, of whichever graph holds it."""
    for graph in all_graphs(model):
        if name in graph.initializers:
            return graph.initializers[name]
    return None


def source_of(value: ir.Value | None) -> ir.Value | None:
    """Follow `value` upstream through Identity and Dropout to the value that it repeats."""
    while value is not None:
        node = value.producer()
        if node is None or node.domain != "" or node.op_type not in PASS_THROUGH:
            return value
        # The second output of a Dropout is its mask, which is a value of its own.
        if value is not node.outputs[0]:
            return value
        value = node.inputs[0]
    return None
