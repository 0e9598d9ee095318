"""Names of new nodes and values: short and free in a whole model, or counted in a function of its own."""

from __future__ import annotations

import itertools
from typing import Protocol

import onnx_ir as ir

from dtc.graph.walk import all_graphs, all_nodes


class NodeNames(Protocol):
    """The naming of a builder's nodes and of their outputs."""

    def give(self, node: ir.Node, prefix: str, label: str | None) -> None:
        """Name a new node and its outputs; `prefix` is the builder's, `label` what the node is there."""
        ...


class Names:
    """The names of a model's nodes and values, and new names that differ from all of these."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._numbers = itertools.count()
        self._taken: set[str | None] = set()
        for graph in all_graphs(model):
            self._taken |= {value.name for value in graph.inputs} | set(graph.initializers)
        for node in all_nodes(model):
            self._taken |= {node.name, *(value.name for value in node.outputs)}

    def unique(self, wanted: str) -> str:
        """Return the first free name of `wanted`, `wanted_2`, `wanted_3`, ..., and mark the name as taken."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name

    def short(self) -> str:
        """Take a name of a few bytes: names are most of what decoding a small weight costs in a file."""
        return self.numbered("v")

    def numbered(self, stem: str) -> str:
        """Take a name of `stem` and the next number; all stems share their numbers."""
        name = next(name for number in self._numbers if (name := f"{stem}{number}") not in self._taken)
        self._taken.add(name)
        return name

    def give(self, node: ir.Node, prefix: str, label: str | None) -> None:
        """Give the outputs short names, and the node `<prefix>/<label>`, or its first output's name without a label."""
        for value in node.outputs:
            value.name = self.short()
        node.name = node.outputs[0].name if label is None else self.unique(f"{prefix}/{label}")


class FunctionNames:
    """Names in a function's body: `Cast_3` for the fourth node and its output, `Split_4_0` for one of several."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def give(self, node: ir.Node, prefix: str, label: str | None) -> None:
        """Name a node by its type and its place."""
        node.name = f"{node.op_type}_{next(self._numbers)}"
        for index, value in enumerate(node.outputs):
            value.name = node.name if len(node.outputs) == 1 else f"{node.name}_{index}"
