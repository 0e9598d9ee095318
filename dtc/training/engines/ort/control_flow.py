"""Setting If, Loop and Scan aside while the gradient is built, as the gradient builder aborts the process over them.

The builder walks back from the loss over all inputs of a node, and takes what a body reads of the graph around it for a
numbered input, which it is not. No gradient goes through these nodes (`capability` sees to that), so for the builder
their outputs are inputs of the graph. Done on protobuf, which is what the builder reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx


@dataclass(frozen=True)
class Aside:
    """The nodes with bodies, and the initializers that they read."""

    nodes: list[onnx.NodeProto]
    initializers: list[onnx.TensorProto]


def set_aside(model: onnx.ModelProto) -> Aside:
    """Take the nodes with bodies out of the graph and return them; values that they read become graph outputs."""
    graph = model.graph
    # 1. The nodes leave, so the builder does not walk into them.
    nodes = [node for node in graph.node if any(_bodies(node))]
    for node in nodes:
        graph.node.remove(node)
    # For h = Relu(x); y = If(c; then: h + 1, else: h - 1); loss of y W: the If leaves, h becomes an output, y an input.
    # For the builder that is a graph in which the gradient of W ends at y.
    known = {info.name: info for info in (*graph.value_info, *graph.input, *graph.output)}
    # 2. What they read must still be computed: it becomes an output. Names from inside of a body are not there.
    handed_out = {info.name for info in graph.output}
    there = {name for node in graph.node for name in node.output}
    reads = {name for node in nodes for name in _reads(node)}
    graph.output.extend(known[name] for name in sorted(reads & there & known.keys() - handed_out))
    # 3. What they gave is an input now, that nothing is differentiated by.
    for node in nodes:
        graph.input.extend(known[name] for name in node.output if name in known)
    return Aside(nodes, [tensor for tensor in graph.initializer if tensor.name in reads])


def put_back(model: onnx.ModelProto, aside: Aside) -> None:
    """Undo `set_aside` in the graph with gradients; the nodes are not in order of use."""
    graph = model.graph
    outputs = {name for node in aside.nodes for name in node.output}
    # Inputs that stood for what the nodes give leave: the nodes give it again.
    for info in [info for info in graph.input if info.name in outputs]:
        graph.input.remove(info)
    # The builder drops the initializers that it sees no reader of.
    kept = {tensor.name for tensor in graph.initializer}
    graph.initializer.extend(tensor for tensor in aside.initializers if tensor.name not in kept)
    graph.node.extend(aside.nodes)


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names that a node and its bodies read; those made inside of a body are among them."""
    yield from (name for name in node.input if name)
    for body in _bodies(node):
        for inner in body.node:
            yield from _reads(inner)
        yield from (info.name for info in body.output)
