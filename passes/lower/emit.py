"""Making new nodes: names, forms by operator set, and putting them in the place of old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.graph import all_graphs, all_nodes

Attributes = Mapping[str, Any]
"""What `ir.node` takes: plain values, tensors, graphs, attributes."""


class Names:
    """The names of a model's nodes and values, so that a new one is never one of them."""

    def __init__(self, model: ir.Model) -> None:
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


class Emitter:
    """Collects new nodes, in the order in which they run, in forms that the model's operator set has."""

    def __init__(self, names: Names, prefix: str, opset: int, dtype: ir.DataType) -> None:
        self.names = names
        self.prefix = prefix
        self.opset = opset
        self.dtype = dtype
        self.nodes: list[ir.Node] = []

    def inner(self, label: str) -> Emitter:
        """Return an emitter for the nodes of a body, named below this one's."""
        return Emitter(self.names, f"{self.prefix}/{label}", self.opset, self.dtype)

    def add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        *,
        label: str | None = None,
        dtype: ir.DataType | None = None,
    ) -> ir.Value:
        """Add a node of one output, of the emitter's element type unless another is given."""
        return self.add_many(op_type, inputs, attributes, count=1, label=label, dtype=dtype)[0]

    def add_many(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        *,
        count: int,
        label: str | None = None,
        dtype: ir.DataType | None = None,
    ) -> list[ir.Value]:
        """Add a node of `count` outputs."""
        name = self.names.unique(f"{self.prefix}/{label or op_type.lower()}")
        node = ir.node(op_type, inputs, attributes or {}, num_outputs=count, name=name)
        for index, value in enumerate(node.outputs):
            value.name = self.names.unique(f"{name}_output_{index}")
            value.type = ir.TensorType(dtype or self.dtype)
        self.nodes.append(node)
        return list(node.outputs)

    def constant(self, array: npt.ArrayLike, *, dtype: ir.DataType | None = None) -> ir.Value:
        """Add a small constant; int64 unless a type is given."""
        dtype = dtype or ir.DataType.INT64
        tensor = ir.tensor(np.asarray(array, dtype=dtype.numpy()), dtype=dtype)
        return self.add("Constant", [], {"value": tensor}, dtype=dtype)

    def gemm(
        self, a: ir.Value, b: ir.Value, c: ir.Value | None = None, attributes: Attributes | None = None, label: str = ""
    ) -> ir.Value:
        """Add a Gemm; `c` became optional with operator set 11."""
        if c is None and self.opset < 11:
            c = self.constant([0.0], dtype=self.dtype)
        return self.add("Gemm", [a, b] if c is None else [a, b, c], attributes, label=label or None)

    def split(self, value: ir.Value, sizes: Sequence[int], axis: int) -> list[ir.Value]:
        """Add a Split; the sizes became an input with operator set 13."""
        if self.opset < 13:
            return self.add_many("Split", [value], {"axis": axis, "split": list(sizes)}, count=len(sizes))
        return self.add_many("Split", [value, self.constant(list(sizes))], {"axis": axis}, count=len(sizes))

    def clip(self, value: ir.Value, limit: float) -> ir.Value:
        """Add a Clip to `[-limit, limit]`; the bounds became inputs with operator set 11."""
        if self.opset < 11:
            return self.add("Clip", [value], {"min": -limit, "max": limit})
        bounds = [self.constant(bound, dtype=self.dtype) for bound in (-limit, limit)]
        return self.add("Clip", [value, *bounds])

    def leading_sizes(self, value: ir.Value) -> ir.Value:
        """Add nodes for the shape of `value` without its last size, int64."""
        shape = self.add("Shape", [value], dtype=ir.DataType.INT64)
        if self.opset < 10:
            return self.add("Slice", [shape], {"starts": [0], "ends": [-1]}, dtype=ir.DataType.INT64)
        return self.add("Slice", [shape, self.constant([0]), self.constant([-1])], dtype=ir.DataType.INT64)


def opset_of(model: ir.Model) -> int:
    """Return the version of the default operator set."""
    return model.opset_imports.get("", 1)


def insert_before(node: ir.Node, emitter: Emitter) -> None:
    """Put the emitter's nodes in front of `node`."""
    assert isinstance(node.graph, ir.Graph)
    node.graph.insert_before(node, emitter.nodes)


def replace_node(node: ir.Node, emitter: Emitter, outputs: Mapping[ir.Value, ir.Value]) -> None:
    """Put the emitter's nodes in the place of `node`; each new value takes over its old one's name and readers."""
    insert_before(node, emitter)
    for old, new in outputs.items():
        name = old.name
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.type, new.shape = old.type or new.type, old.shape
        old.name, new.name = None, name
    assert node.graph is not None
    node.graph.remove(node, safe=True)
