"""Losses as nodes at the end of a graph; `targets.py` makes the labels and weights that a loss is fed with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from dtc.labels import PADDING
from dtc.training.scores import scores_of
from dtc.training.targets import LABELS, TAUGHT, TAUGHT_WEIGHT, WEIGHT, Kind

LOSS = "dtc::loss"
LABEL_LOSS = "dtc::label_loss"
SCORES = "dtc::scores"


def attach_loss(model: ir.Model, kind: Kind, output: str | None, label_rank: int, *, distills: bool = False) -> None:
    """Add the loss of one output as the value `dtc::loss`, a scalar, and the scores that it reads as `dtc::scores`.

    Labels enter as graph input `dtc::labels`: int64 for cross-entropy, where -1 is left out of the mean, a vector
    unless `label_rank` is above 2; else a float vector, with the weight of each in `dtc::weight`. Where it `distills`
    besides, the original's scores enter as `dtc::taught` and their weights as `dtc::taught_weight`, and what the labels
    alone give is `dtc::label_loss`.

    Raises:
        EngineError: There is no such output, or it is not float32.
    """
    scores = scores_of(model, kind, output)
    nodes = _Nodes(model.graph)
    named = nodes.op("Identity", scores, name=SCORES)
    named.type, named.shape = scores.type, scores.shape
    name = LABEL_LOSS if distills else LOSS
    if kind == "cross-entropy":
        loss = _cross_entropy(nodes, named, label_rank, name)
    else:
        flat, labels = nodes.flat(named), nodes.input(LABELS, ir.DataType.FLOAT, 1)
        loss = nodes.total(_ELEMENTWISE[kind](nodes, flat, labels), WEIGHT, name)
    if distills:
        flat, taught = nodes.flat(named), nodes.input(TAUGHT, ir.DataType.FLOAT, 1)
        distance = nodes.total(_squares(nodes, flat, taught), TAUGHT_WEIGHT, "dtc::distance")
        nodes.op("Add", loss, distance, name=LOSS).shape = ir.Shape([])


class _Nodes:
    """Appends nodes to the graph."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph

    def op(self, kind: str, *inputs: ir.Value, name: str | None = None, **attributes: object) -> ir.Value:
        node = ir.node(kind, list(inputs), dict(attributes))  # type: ignore[arg-type]
        node.outputs[0].name = name
        node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        self.graph.append(node)
        return node.outputs[0]

    def input(self, name: str, dtype: ir.DataType, rank: int) -> ir.Value:
        shape = ir.Shape([f"{name}_{axis}" for axis in range(rank)])
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=shape)
        self.graph.inputs.append(value)
        return value

    def scalar(self, number: float) -> ir.Value:
        name = f"dtc::{number}"
        tensor = ir.tensor(np.array(number, dtype=np.float32), name=name)
        value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([]))
        value.const_value = tensor
        self.graph.register_initializer(value)
        return value

    def flat(self, scores: ir.Value) -> ir.Value:
        """Return scores as a vector, as the gradient builder must know the ranks of broadcast operands."""
        name = "dtc::flat"
        if name not in self.graph.initializers:
            tensor = ir.tensor(np.array([-1], dtype=np.int64), name=name)
            shape = ir.Value(name=name, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1]))
            shape.const_value = tensor
            self.graph.register_initializer(shape)
        return self.op("Reshape", scores, self.graph.initializers[name])

    def total(self, values: ir.Value, weight: str, name: str) -> ir.Value:
        """Return the sum of values times their weights, which enter as graph input `weight`, as the value `name`."""
        weighted = self.op("Mul", values, self.input(weight, ir.DataType.FLOAT, 1))
        loss = self.op("ReduceSum", weighted, name=name, keepdims=0)
        loss.shape = ir.Shape([])
        return loss


def _cross_entropy(nodes: _Nodes, scores: ir.Value, label_rank: int, name: str) -> ir.Value:
    # Scores [N, C, H, W] with labels [N, H, W] go in as they are. Others have the classes last: [T, N, C] becomes [T N,
    # C], with labels [T N].
    spatial = label_rank > 2
    labels = nodes.input(LABELS, ir.DataType.INT64, label_rank if spatial else 1)
    logits = scores if spatial else nodes.op("Flatten", scores, axis=-1)
    node = ir.node(
        "SoftmaxCrossEntropyLoss", [logits, labels], {"reduction": "mean", "ignore_index": PADDING}, num_outputs=2
    )
    for value, told in zip(node.outputs, (name, "dtc::log_probabilities"), strict=True):
        value.name, value.type = told, ir.TensorType(ir.DataType.FLOAT)
    node.outputs[0].shape = ir.Shape([])
    nodes.graph.append(node)
    return node.outputs[0]


def _squares(nodes: _Nodes, scores: ir.Value, labels: ir.Value) -> ir.Value:
    difference = nodes.op("Sub", scores, labels)
    return nodes.op("Mul", difference, difference)


def _logistic(nodes: _Nodes, scores: ir.Value, labels: ir.Value) -> ir.Value:
    """Softplus(x) - x y, with softplus(x) = (x + |x|) / 2 + log(1 + exp(-|x|)), smooth at 0 and safe far from it."""
    magnitude = nodes.op("Abs", scores)
    positive = nodes.op("Mul", nodes.op("Add", scores, magnitude), nodes.scalar(0.5))
    tail = nodes.op("Log", nodes.op("Add", nodes.op("Exp", nodes.op("Neg", magnitude)), nodes.scalar(1.0)))
    linear = nodes.op("Mul", scores, labels)
    return nodes.op("Sub", nodes.op("Add", positive, tail), linear)


_ELEMENTWISE: dict[Kind, Callable[[_Nodes, ir.Value, ir.Value], ir.Value]] = {
    "mse": _squares,
    "distill": _squares,
    "bce": _logistic,
}
