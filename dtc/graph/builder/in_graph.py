"""Builders of nodes for a model's graph, the constants that builders share, and how new nodes enter the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy.typing as npt
import onnx_ir as ir

from dtc.graph.builder.names import Names
from dtc.graph.builder.nodes import Builder
from dtc.graph.opset import opset_of

Keep: TypeAlias = Callable[["npt.NDArray[Any] | ir.TensorProtocol"], ir.TensorProtocol]
"""Makes the tensor of an initializer: it may leave the numbers on disk."""


class GraphBuilder(Builder):
    """Collects new nodes of a graph.

    A node with a label is named `<prefix>/<label>`; all else has a short name.

    Attributes:
        names: Those of the model.
        graph: Where the initializers go.
        stored: The initializers that it has made, apart from constants in common.
    """

    def __init__(
        self,
        names: Names,
        prefix: str,
        *,
        graph: ir.Graph | None = None,
        dtype: ir.DataType | None = None,
        shared: Shared | None = None,
    ) -> None:
        """Begin with no nodes.

        Args:
            names: Of the model.
            prefix: What the nodes stand for: a node that they replace, or a weight that they decode.
            graph: Where initializers go; the main graph if none is given.
            dtype: Type of fractional constants, and of values that no other is given for; none: float32, and values
                are left to the runtime's inference.
            shared: Holds the constants in common with other builders; none: they are nodes among the others.
        """
        super().__init__(names, opset_of(names.model), prefix=prefix, dtype=dtype)
        self.names = names
        self.graph = names.model.graph if graph is None else graph
        self.stored: list[ir.Value] = []
        self._shared = shared

    def inner(self, label: str) -> Builder:
        """Return a builder for the nodes of a subgraph, named below this one's; constants are nodes of the subgraph."""
        return Builder(self.names, self.opset, prefix=f"{self.prefix}/{label}", dtype=self.dtype)

    def initializer(self, name: str, array: npt.NDArray[Any] | ir.TensorProtocol) -> ir.Value:
        """Store `array` as `<prefix>.<name>`."""
        tensor = array if self._shared is None else self._shared.keep(array)
        value = add_initializer(self.graph, self.names.unique(f"{self.prefix}.{name}"), tensor)
        self.stored.append(value)
        return value

    def once(self, key: object, make: Callable[[GraphBuilder], ir.Value]) -> ir.Value:
        """Return the value that `make` adds nodes for, the same one for all builders of the graph that share constants.

        Each graph has its own: a runtime that folds the nodes of a branch need not know what is computed around it.
        """
        return make(self) if self._shared is None else self._shared.once(key, make, self.graph)

    def _stored(self, array: npt.NDArray[Any]) -> ir.Value:
        if self._shared is not None:
            return self._shared.constant(array)
        # Constant takes whole numbers since operator set 9.
        return super()._stored(array) if self.opset >= 9 else self.initializer("number", array)


class Shared:
    """The constants that all builders of a model share, in the main graph, and tables computed from them in each graph.

    Args:
        model: Where they are stored.
        names: How nodes are called.
        keep: Makes tensors of arrays.
    """

    def __init__(self, model: ir.Model, names: type[Names] = Names, keep: Keep = ir.tensor) -> None:
        self.names, self.keep = names(model), keep
        self._fronts: dict[ir.Graph, GraphBuilder] = {}
        self._made: dict[object, ir.Value] = {}

    def builder(self, prefix: str, graph: ir.Graph | None = None) -> GraphBuilder:
        """Return a builder that takes its constants here; its initializers go to the main graph if none is given."""
        return GraphBuilder(self.names, prefix, graph=graph, shared=self)

    def constant(self, array: npt.NDArray[Any]) -> ir.Value:
        """Return the initializer of that type, shape and content."""
        # Bytes alone would not do: int64 0 and float64 0.0 have the same ones.
        key = (array.dtype, array.shape, array.tobytes())
        value = self.once(key, lambda front: add_initializer(front.graph, self.names.short(), array))
        # A pass that removes what nothing reads may have taken the constant of nodes that were replaced since.
        main = self.names.model.graph
        if value.name not in main.initializers:
            main.register_initializer(value)
        return value

    def once(self, key: object, make: Callable[[GraphBuilder], ir.Value], graph: ir.Graph | None = None) -> ir.Value:
        """Return the value of `make`, which is called only for a key that was not asked for in a graph before.

        It is the main graph if none is given.
        """
        graph = self.names.model.graph if graph is None else graph
        if (graph, key) not in self._made:
            self._made[graph, key] = make(self._front(graph))
        return self._made[graph, key]

    def insert(self) -> None:
        """Put the nodes that were needed in front of all others of their graphs; when all sites are done."""
        for front in self._fronts.values():
            insert_first(front)

    def _front(self, graph: ir.Graph) -> GraphBuilder:
        if graph not in self._fronts:
            self._fronts[graph] = self.builder("dtc", graph)
        return self._fronts[graph]


def add_initializer(graph: ir.Graph, name: str, array: npt.NDArray[Any] | ir.TensorProtocol) -> ir.Value:
    """Store an array in a graph, under a name that is free."""
    tensor = ir.tensor(array)
    tensor.name = name
    shape = ir.Shape(tensor.shape.numpy())
    value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=shape)
    graph.register_initializer(value)
    return value


def insert_first(builder: GraphBuilder) -> None:
    """Put the builder's nodes in front of all others of its graph."""
    first = next(iter(builder.graph), None)
    if first is None:
        builder.graph.extend(builder.nodes)
    else:
        builder.graph.insert_before(first, builder.nodes)


def insert_before(node: ir.Node, builder: Builder) -> None:
    """Put the builder's nodes in front of `node`."""
    assert isinstance(node.graph, ir.Graph)
    node.graph.insert_before(node, builder.nodes)


def replace_node(node: ir.Node, builder: Builder, outputs: Mapping[ir.Value, ir.Value]) -> None:
    """Put the builder's nodes in the place of `node`; each new value takes over its old one's name and readers.

    Args:
        node: Leaves its graph.
        builder: Has the new nodes.
        outputs: The new value for each output of `node` that is read.
    """
    insert_before(node, builder)
    for old, new in outputs.items():
        name = old.name
        # Old `y` with readers, new `v7`: readers move to the new value, which is then renamed `y`, so that outputs of
        # the graph keep their names. The old value gives its name up first: two values of a graph may not share one.
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.type, new.shape = old.type or new.type, old.shape
        old.name, new.name = None, name
    assert node.graph is not None
    node.graph.remove(node, safe=True)
