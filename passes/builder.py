"""Making new nodes: names, forms by operator set, constants in common, and putting nodes in the place of old ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, require_operator
from dtc.graph import all_graphs, all_nodes


class Names:
    """The names of a model's nodes and values, so that a new one is never one of them."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._numbers = itertools.count()
        self._taken: set[str | None] = set()
        for graph in all_graphs(model):
            self._taken |= {value.name for value in graph.inputs} | set(graph.initializers)
        for node in all_nodes(model):
            self._taken |= {node.name, *(value.name for value in node.outputs)}

    def unique(self, wanted: str) -> str:
        """Return `wanted`, with a number behind it where that is taken, and take it."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name

    def short(self) -> str:
        """Take a name of a few bytes: names are most of what decoding a small weight costs in a file."""
        name = next(name for number in self._numbers if (name := f"v{number}") not in self._taken)
        self._taken.add(name)
        return name


class Builder:
    """Collects new nodes, in the order in which they run, in forms that the model's operator set has.

    A node with a label is named `<prefix>/<label>`; all else has a short name.

    Args:
        names: Of the model.
        prefix: What the nodes stand for: a node that they replace, or a weight that they decode.
        graph: Where its initializers go; the main graph if none is given.
        dtype: Type of fractional constants, and of values that no other is given for; none: float32, and values are
            left to the runtime's inference.
        shared: Holds the constants in common with other builders; none: they are nodes among the others.
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
        self.names = names
        self.prefix = prefix
        self.graph = names.model.graph if graph is None else graph
        self.dtype = dtype or ir.DataType.FLOAT
        self._typed = dtype is not None
        self.opset = opset_of(names.model)
        self.nodes: list[ir.Node] = []
        self._shared = shared

    def inner(self, label: str) -> Builder:
        """Return a builder for the nodes of a body, named below this one's; constants are nodes of the body."""
        return Builder(self.names, f"{self.prefix}/{label}", dtype=self.dtype)

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        *,
        label: str | None = None,
        dtype: ir.DataType | None = None,
        **attributes: Any,
    ) -> ir.Value:
        """Add a standard node of one output; attributes are what `ir.node` takes: plain values, graphs, `ir.Attr`."""
        return self._add(op_type, inputs, attributes, label=label, dtype=dtype)[0]

    def ops(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        count: int,
        *,
        label: str | None = None,
        **attributes: Any,
    ) -> list[ir.Value]:
        """Add a standard node of `count` outputs."""
        return self._add(op_type, inputs, attributes, count=count, label=label)

    def call(self, operator: str, inputs: Sequence[ir.Value | None], **attributes: int) -> ir.Value:
        """Add a node of the domain `dtc`, of one output, and the operator's function to the model."""
        require_operator(self.names.model, operator)
        return self._add(operator, inputs, attributes, domain=DOMAIN, label=str(len(self.nodes)))[0]

    def _add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any],
        *,
        domain: str = "",
        count: int = 1,
        label: str | None = None,
        dtype: ir.DataType | None = None,
    ) -> list[ir.Value]:
        node = ir.node(op_type, inputs, attributes or None, domain=domain, num_outputs=count)
        for value in node.outputs:
            value.name = self.names.short()
            if dtype is not None or self._typed:
                value.type = ir.TensorType(dtype or self.dtype)
        node.name = node.outputs[0].name if label is None else self.names.unique(f"{self.prefix}/{label}")
        self.nodes.append(node)
        return list(node.outputs)

    def initializer(self, name: str, array: npt.NDArray[Any] | ir.TensorProtocol) -> ir.Value:
        """Store `array` as `<prefix>.<name>`."""
        return add_initializer(self.graph, self.names.unique(f"{self.prefix}.{name}"), array)

    def constant(self, numbers: npt.ArrayLike) -> ir.Value:
        """Return a small constant: of the type of an array, of the builder's for Python's fractions, else int64."""
        array = np.asarray(numbers)
        if isinstance(numbers, int | float | list | tuple):
            array = array.astype(self.dtype.numpy() if array.dtype.kind == "f" else np.int64)
        if self._shared is not None:
            return self._shared.constant(array)
        tensor = ir.tensor(array)
        return self.op("Constant", [], value=tensor, dtype=tensor.dtype)

    def once(self, key: object, make: Callable[[Builder], ir.Value]) -> ir.Value:
        """Return the value that `make` adds nodes for, the same one for all builders that share constants."""
        return make(self) if self._shared is None else self._shared.once(key, make)

    def gemm(self, a: ir.Value, b: ir.Value, c: ir.Value | None = None, **attributes: Any) -> ir.Value:
        """Add a Gemm; `c` became optional with operator set 11."""
        if c is None and self.opset < 11:
            c = self.constant([0.0])
        return self.op("Gemm", [a, b] if c is None else [a, b, c], **attributes)

    def split(self, value: ir.Value, sizes: Sequence[int], axis: int) -> list[ir.Value]:
        """Add a Split; the sizes became an input with operator set 13."""
        if self.opset < 13:
            return self.ops("Split", [value], len(sizes), axis=axis, split=list(sizes))
        return self.ops("Split", [value, self.constant(list(sizes))], len(sizes), axis=axis)

    def clip(self, value: ir.Value, limit: float) -> ir.Value:
        """Add a Clip to `[-limit, limit]`; the bounds became inputs with operator set 11."""
        if self.opset < 11:
            return self.op("Clip", [value], min=-limit, max=limit)
        return self.op("Clip", [value, self.constant(-limit), self.constant(limit)])

    def leading_sizes(self, value: ir.Value) -> ir.Value:
        """Add nodes for the shape of `value` without its last size, int64."""
        shape = self.op("Shape", [value], dtype=ir.DataType.INT64)
        if self.opset < 10:
            return self.op("Slice", [shape], starts=[0], ends=[-1], dtype=ir.DataType.INT64)
        return self.op("Slice", [shape, self.constant([0]), self.constant([-1])], dtype=ir.DataType.INT64)


class Shared:
    """What the sites of a model have in common: constants, and tables computed of them, in the main graph."""

    def __init__(self, model: ir.Model) -> None:
        self.names = Names(model)
        self._front = self.builder("dtc", model.graph)
        self._made: dict[object, ir.Value] = {}

    def builder(self, prefix: str, graph: ir.Graph) -> Builder:
        """Return a builder that takes its constants here."""
        return Builder(self.names, prefix, graph=graph, shared=self)

    def constant(self, array: npt.NDArray[Any]) -> ir.Value:
        """Return the initializer of that type, shape and content."""
        key = (array.dtype, array.shape, array.tobytes())
        return self.once(key, lambda front: add_initializer(front.graph, self.names.short(), array))

    def once(self, key: object, make: Callable[[Builder], ir.Value]) -> ir.Value:
        """Return what `make` gives, called the first time that the key is asked for."""
        if key not in self._made:
            self._made[key] = make(self._front)
        return self._made[key]

    def insert(self) -> None:
        """Put the nodes that were needed in front of all others; when all sites are done."""
        insert_first(self._front)


def add_initializer(graph: ir.Graph, name: str, array: npt.NDArray[Any] | ir.TensorProtocol) -> ir.Value:
    """Store an array in a graph, under a name that is free."""
    tensor = ir.tensor(array)
    tensor.name = name
    shape = ir.Shape(tensor.numpy().shape)
    value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=shape)
    graph.register_initializer(value)
    return value


def opset_of(model: ir.Model) -> int:
    """Return the version of the default operator set."""
    return model.opset_imports.get("", 1)


def insert_first(builder: Builder) -> None:
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
    """Put the builder's nodes in the place of `node`; each new value takes over its old one's name and readers."""
    insert_before(node, builder)
    for old, new in outputs.items():
        name = old.name
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.type, new.shape = old.type or new.type, old.shape
        old.name, new.name = None, name
    assert node.graph is not None
    node.graph.remove(node, safe=True)
