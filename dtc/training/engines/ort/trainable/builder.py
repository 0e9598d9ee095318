"""Writing a few standard nodes into a graph, whatever the opset spells them like (13 to 21)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

_SPLIT_COUNTS = 18


class Builder:
    """Collects nodes that replace one node; `finish` puts them in its place."""

    def __init__(self, node: ir.Node, opset: int) -> None:
        assert node.graph is not None
        self._node = node
        self._graph = node.graph
        self._opset = opset
        self._nodes: list[ir.Node] = []
        self._count = 0

    def op(self, kind: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        """Add a node of the default domain with one output and return that."""
        return self.multi(kind, inputs, 1, attributes)[0]

    def multi(
        self, kind: str, inputs: Sequence[ir.Value | None], count: int, attributes: Mapping[str, object]
    ) -> Sequence[ir.Value]:
        """Add a node with `count` outputs and return those."""
        self._count += 1
        name = f"{self._node.name}::{kind}{self._count}"
        node = ir.node(kind, list(inputs), dict(attributes), num_outputs=count, name=name)  # type: ignore[arg-type]
        for index, output in enumerate(node.outputs):
            output.name = f"{name}:{index}"
        self._nodes.append(node)
        return node.outputs

    def constant(self, array: npt.NDArray[np.generic]) -> ir.Value:
        """Add an initializer."""
        self._count += 1
        tensor = ir.tensor(array, name=f"{self._node.name}::constant{self._count}")
        value = ir.Value(name=tensor.name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
        value.const_value = tensor
        assert isinstance(self._graph, ir.Graph)
        self._graph.register_initializer(value)
        return value

    def integers(self, *numbers: int) -> ir.Value:
        """Add an int64 vector (axes, shapes, sizes)."""
        return self.constant(np.array(numbers, dtype=np.int64))

    def split(self, value: ir.Value, count: int, axis: int) -> Sequence[ir.Value]:
        """Cut into `count` equal parts."""
        if count == 1:
            return [value]
        attributes: dict[str, object] = {"axis": axis}
        if self._opset >= _SPLIT_COUNTS:
            attributes["num_outputs"] = count
        return self.multi("Split", [value], count, attributes)

    def split_sizes(self, value: ir.Value, sizes: Sequence[int], axis: int) -> Sequence[ir.Value]:
        """Cut into parts of the given sizes."""
        return self.multi("Split", [value, self.integers(*sizes)], len(sizes), {"axis": axis})

    def concat(self, values: Sequence[ir.Value], axis: int) -> ir.Value:
        """Join; one value is handed on as it is."""
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=axis)

    def finish(self, replacements: Mapping[ir.Value, ir.Value]) -> None:
        """Insert the nodes, let `replacements` take over from the old outputs, and remove the old node."""
        self._graph.insert_before(self._node, self._nodes)
        outputs = self._graph.outputs if isinstance(self._graph, ir.Graph) else []
        for old, new in replacements.items():
            for index, output in enumerate(outputs):
                if output is old:
                    outputs[index] = new
            if any(output is new for output in outputs):
                name, old.name = old.name, f"{old.name}::replaced"
                new.name, new.type, new.shape = name, old.type, old.shape
            ir.convenience.replace_all_uses_with(old, new)
        self._graph.remove(self._node, safe=True)
