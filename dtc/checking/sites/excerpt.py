"""Parts of a model, put together to a model of their own that runs in one session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.checking.sites.cones import Cone
from dtc.graph.serialization import to_proto
from dtc.session import runner, session_of

LARGE = 1 << 20
"""Bytes of an array that is lent to ONNX Runtime, and not written into the model that it reads."""

_LENT = frozenset(
    {
        ir.DataType.FLOAT,
        ir.DataType.FLOAT16,
        ir.DataType.DOUBLE,
        ir.DataType.INT8,
        ir.DataType.INT16,
        ir.DataType.INT32,
        ir.DataType.INT64,
        ir.DataType.UINT8,
        ir.DataType.UINT16,
        ir.DataType.UINT32,
        ir.DataType.UINT64,
        ir.DataType.BOOL,
    }
)
"""Types that NumPy has as well, element by element."""


class Excerpt:
    """Cones of a model side by side: what is constant in them is computed once for all, the rest each by itself.

    Args:
        model: The whole model, which stays as it is.
        cones: The parts.
        feeds: The numbers that enter each cone, by value.
    """

    def __init__(self, model: ir.Model, cones: Sequence[Cone], feeds: Sequence[Mapping[ir.Value, Any]]) -> None:
        self._model, self._cones = model, cones
        self._feeds: dict[str, Any] = {}
        self._outputs: list[list[str]] = []
        self._lent: dict[str, Any] = {}
        self._graph = self._constants()
        for number, (each, feed) in enumerate(zip(cones, feeds, strict=True)):
            self._add(number, each, feed)

    def run(self, called: str, **settings: Any) -> list[list[Any]]:
        """Return the outputs, cone by cone; the arguments are those of `dtc.session.session_of`.

        Raises:
            ModelError: ONNX Runtime refuses it, or it fails while it runs.
        """
        model = ir.Model(self._graph, ir_version=self._model.ir_version, functions=list(self._model.functions.values()))
        message = to_proto(model).SerializeToString()
        found = runner(session_of(message, self._lent, called=called, **settings))(self._feeds)
        return [[found[name] for name in names] for names in self._outputs]

    def _constants(self) -> ir.Graph:
        """Return a graph of all that is constant; `_made` are the values in it."""
        nodes = dict.fromkeys(node for each in self._cones for node in each.constant)
        initializers = dict.fromkeys(value for each in self._cones for value in each.initializers)
        handed = tuple(dict.fromkeys(value for each in self._cones for value in each.handed))
        view = ir.GraphView(
            (),
            handed,
            nodes=tuple(nodes),
            initializers=tuple(initializers),
            opset_imports=self._model.graph.opset_imports,
            name="excerpt",
        )
        graph = view.clone()
        self._made = dict(zip(handed, list(graph.outputs), strict=True))
        graph.outputs.clear()
        for value in initializers:
            assert value.name is not None
            assert value.const_value is not None
            graph.initializers[value.name].const_value = self._held(value.name, value.const_value)
        return graph

    def _held(self, name: str, tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        """Return a tensor to write into the excerpt: of a large one only where it is, and it is lent."""
        if tensor.nbytes < LARGE or tensor.dtype not in _LENT:
            return tensor
        self._lent[name] = np.ascontiguousarray(tensor.numpy())
        return ir.ExternalTensor(
            "lent", 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name, base_dir=""
        )

    def _add(self, number: int, part: Cone, feed: Mapping[ir.Value, Any]) -> None:
        """Add the dependent nodes of a cone, with inputs of their own."""
        given = [*part.stops, *part.handed]
        outputs = [value for value in part.outputs if value not in self._made]
        graph = ir.GraphView(given, outputs, nodes=part.dependent, name="part").clone()
        entering, handed = graph.inputs[: len(part.stops)], graph.inputs[len(part.stops) :]
        made = dict(zip(outputs, list(graph.outputs), strict=True))
        graph.outputs.clear()
        for inner, outer in zip(list(handed), part.handed, strict=True):
            inner.replace_all_uses_with(self._made[outer])
        for place, (inner, outer) in enumerate(zip(list(entering), part.stops, strict=True)):
            inner.name = f"{number}.in.{place}"
            array = self._feeds[inner.name] = feed[outer]
            inner.type, inner.shape = ir.TensorType(ir.DataType.from_numpy(array.dtype)), ir.Shape(array.shape)
        graph.inputs.clear()
        nodes = list(graph)
        graph.remove(nodes)
        for value in (value for node in nodes for value in node.outputs if value.name):
            value.name = f"{number}.{value.name}"
        self._graph.inputs.extend(entering)
        self._graph.extend(nodes)
        self._outputs.append([self._told(number, place, made, value) for place, value in enumerate(part.outputs)])

    def _told(self, number: int, place: int, made: Mapping[ir.Value, ir.Value], value: ir.Value) -> str:
        """Return the name of an output of the excerpt that holds a value of a cone."""
        # By a node of its own: a weight that is read as it is has no other, and two cones may end at the same one.
        node = ir.node("Identity", [made.get(value) or self._made[value]])
        node.outputs[0].name = f"{number}.out.{place}"
        self._graph.append(node)
        self._graph.outputs.append(node.outputs[0])
        return str(node.outputs[0].name)
