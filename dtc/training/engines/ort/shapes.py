"""Concrete shapes inside the graph for the inputs at hand, from running the graph itself once per signature."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import onnx_ir as ir

from dtc.graph.signature import Arrays
from dtc.training.engines.ort.dead_nodes import remove_dead_nodes
from dtc.training.engines.ort.runtime import open_session

Signature: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]


def signature(inputs: Arrays) -> Signature:
    """Return the shapes of the inputs as a key."""
    return tuple(sorted((name, tuple(array.shape)) for name, array in inputs.items()))


class ShapeProbe:
    """Tells the shape of the first input of some nodes."""

    def __init__(self, model: ir.Model, nodes: Iterable[str], threads: int | None) -> None:
        self._nodes = list(nodes)
        self._model, self._threads = model, threads
        self._session: Any = None
        self._known: dict[Signature, dict[str, tuple[int, ...]]] = {}

    def shapes(self, inputs: Arrays) -> dict[str, tuple[int, ...]]:
        """Return the shape of the first input by node name; the graph runs once for each new set of input shapes."""
        key = signature(inputs)
        if key not in self._known:
            self._known[key] = self._run(inputs) if self._nodes else {}
        return self._known[key]

    def _run(self, inputs: Arrays) -> dict[str, tuple[int, ...]]:
        if self._session is None:
            self._session = open_session(self._probe(), self._threads)
        wanted = {value.name for value in self._session.get_inputs()}
        found = self._session.run(None, {name: array for name, array in inputs.items() if name in wanted})
        return {node: tuple(int(d) for d in shape) for node, shape in zip(self._nodes, found, strict=True)}

    def _probe(self) -> ir.Model:
        model = self._model.clone()
        by_name = {node.name: node for node in model.graph}
        outputs = []
        for name in self._nodes:
            shape = ir.node("Shape", [by_name[name].inputs[0]], name=f"{name}::Shape")
            shape.outputs[0].name = f"{name}::shape"
            shape.outputs[0].type = ir.TensorType(ir.DataType.INT64)
            model.graph.append(shape)
            outputs.append(shape.outputs[0])
        model.graph.outputs.clear()
        model.graph.outputs.extend(outputs)
        remove_dead_nodes(model.graph)
        return model
