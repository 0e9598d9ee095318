"""Replacing a weight by nodes that decode it, for every form that is lowered so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.graph import Site

Decoder = Callable[["Builder"], ir.Value]
"""Adds nodes to a builder and returns the value that they give."""


class Builder:
    """Adds initializers and nodes, named after what they replace, to one graph.

    Nodes are collected, and inserted by whoever made the builder at the place where they belong.
    """

    def __init__(self, graph: ir.Graph, prefix: str) -> None:
        self.graph = graph
        self.prefix = prefix
        self.nodes: list[ir.Node] = []

    def initializer(self, name: str, array: npt.NDArray[np.generic] | ir.TensorProtocol) -> ir.Value:
        """Store `array` under `<prefix>.<name>`; one that is there already is used again."""
        full = f"{self.prefix}.{name}"
        if full in self.graph.initializers:
            return self.graph.initializers[full]
        tensor = ir.tensor(array, name=full)
        shape = ir.Shape(tensor.numpy().shape)
        value = ir.Value(name=full, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=shape)
        self.graph.register_initializer(value)
        return value

    def op(
        self, op_type: str, inputs: list[ir.Value | None], *, domain: str = "", name: str = "", **attributes: object
    ) -> ir.Value:
        """Add a node of one output."""
        label = f"{self.prefix}/{name or op_type}_{len(self.nodes)}"
        node = ir.node(op_type, inputs, attributes or None, domain=domain, name=label)  # type: ignore[arg-type]
        node.outputs[0].name = f"{label}:0"
        self.nodes.append(node)
        return node.outputs[0]


def replace_weight(site: Site, decode: Decoder) -> None:
    """Feed every reader of a site from nodes that decode it; the old initializer goes.

    The decoded value has the initializer's shape and dtype. Its nodes stand first in the graph that owns the
    initializer, so that a weight with several readers is decoded once.
    """
    graph = site.value.graph
    assert graph is not None
    builder = Builder(graph, site.name)
    decoded = decode(builder)
    decoded.shape, decoded.type = site.value.shape, site.value.type
    site.value.replace_all_uses_with(decoded)
    if len(graph):
        graph.insert_before(graph[0], builder.nodes)
    else:
        graph.extend(builder.nodes)
    del graph.initializers[site.name]
