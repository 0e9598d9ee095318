"""Models of one or two LSTM or GRU nodes, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

FLOAT = ir.DataType.FLOAT


@dataclass(frozen=True)
class Options:
    """A recurrent node to test."""

    op: str = "LSTM"
    direction: str = "forward"
    steps: int = 4
    batch: int = 2
    inputs: int = 5
    hidden: int = 6
    bias: bool = True
    lengths: bool = False
    states: bool = True
    peepholes: bool = False
    clip: float | None = None
    linear_before_reset: int = 0
    activations: tuple[str, ...] = ()
    outputs: tuple[bool, ...] = (True, True, True)
    opset: int = 14

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1


def recurrent_model(o: Options, seed: int = 0) -> tuple[ir.Model, dict[str, Any]]:
    """Return a model of one node, and inputs for it."""
    rng = np.random.default_rng(seed)
    gates = 4 if o.op == "LSTM" else 3
    d, h = o.directions, o.hidden
    x = ir.val("x", FLOAT, ["T", "N", o.inputs])
    feeds: dict[str, Any] = {"x": rng.standard_normal((o.steps, o.batch, o.inputs)).astype(np.float32)}
    initializers: list[ir.Value] = []

    def weight(name: str, *shape: int) -> ir.Value:
        array = rng.standard_normal(shape).astype(np.float32)
        initializers.append(ir.val(name, const_value=ir.tensor(array, name=name)))
        return initializers[-1]

    graph_inputs = [x]

    def fed(name: str, array: Any, shape: list[str | int], dtype: ir.DataType = FLOAT) -> ir.Value:
        graph_inputs.append(ir.val(name, dtype, shape))
        feeds[name] = array
        return graph_inputs[-1]

    inputs: list[ir.Value | None] = [x, weight("W", d, gates * h, o.inputs), weight("R", d, gates * h, h)]
    inputs.append(weight("B", d, 2 * gates * h) if o.bias else None)
    lengths = rng.integers(0, o.steps + 1, o.batch).astype(np.int32)
    inputs.append(fed("lengths", lengths, ["N"], ir.DataType.INT32) if o.lengths else None)
    for name in ("h0", "c0")[: 2 if o.op == "LSTM" else 1]:
        state = rng.standard_normal((d, o.batch, h)).astype(np.float32)
        inputs.append(fed(name, state, [d, "N", h]) if o.states else None)
    if o.op == "LSTM":
        inputs.append(weight("P", d, 3 * h) if o.peepholes else None)
    attributes: dict[str, Any] = {"hidden_size": h, "direction": o.direction}
    if o.clip is not None:
        attributes["clip"] = o.clip
    if o.activations:
        attributes["activations"] = list(o.activations) * d
    if o.linear_before_reset:
        attributes["linear_before_reset"] = 1
    node = ir.node(o.op, inputs, attributes, num_outputs=3 if o.op == "LSTM" else 2, name="cell")
    shapes: list[list[str | int]] = [["T", d, "N", h], [d, "N", h], [d, "N", h]]
    used = []
    for value, name, shape, read in zip(node.outputs, ("y", "yh", "yc"), shapes, o.outputs, strict=False):
        value.name, value.type, value.shape = name if read else "", ir.TensorType(FLOAT), ir.Shape(shape)
        used += [value] if read else []
    graph = ir.Graph(graph_inputs, used, nodes=[node], initializers=initializers, opset_imports={"": o.opset}, name="g")
    return ir.Model(graph, ir_version=8), feeds


def two_layers(o: Options) -> tuple[ir.Model, dict[str, Any]]:
    """Return a model of two nodes, the second reading the first."""
    model, feeds = recurrent_model(o)
    (first,) = model.graph
    rng = np.random.default_rng(9)
    gates = 4 if o.op == "LSTM" else 3
    weights = []
    for name in ("W2", "R2"):
        array = rng.standard_normal((1, gates * o.hidden, o.hidden)).astype(np.float32)
        weights.append(ir.val(name, const_value=ir.tensor(array, name=name)))
        model.graph.register_initializer(weights[-1])
    if o.opset < 13:
        squeeze = ir.node("Squeeze", [first.outputs[0]], {"axes": [1]})
    else:
        axes = ir.val("axes", const_value=ir.tensor([1], name="axes"))
        model.graph.register_initializer(axes)
        squeeze = ir.node("Squeeze", [first.outputs[0], axes])
    same = ir.node("Identity", squeeze.outputs)
    attributes = {"hidden_size": o.hidden, "direction": o.direction}
    second = ir.node(o.op, [same.outputs[0], *weights], attributes, num_outputs=1, name="second")
    for value, name in ((squeeze.outputs[0], "squeezed"), (same.outputs[0], "same"), (second.outputs[0], "z")):
        value.name = name
    second.outputs[0].type, second.outputs[0].shape = ir.TensorType(FLOAT), ir.Shape(["T", 1, "N", o.hidden])
    model.graph.extend([squeeze, same, second])
    model.graph.outputs.append(second.outputs[0])
    return model, feeds
