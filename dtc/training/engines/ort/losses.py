"""Losses as nodes at the end of a graph; `targets.py` makes the labels and weights that a loss is fed with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from dtc.labels import PADDING
from dtc.training.scores import scores_of
from dtc.training.targets import LABELS, WEIGHT, Kind

LOSS = "dtc::loss"
SCORES = "dtc::scores"


def attach_loss(model: ir.Model, kind: Kind, output: str | None, label_rank: int) -> None:
    """Add the loss of one output as the value `dtc::loss`, a scalar, and the scores that it reads as `dtc::scores`.

    Labels enter as graph input `dtc::labels`: int64 for cross-entropy, where -1 is left out of the mean, a vector
    unless `label_rank` is above 2; else a float vector, with the weight of each in `dtc::weight`.

    Raises:
        EngineError: There is no such output, or it is not float32.
    """
    scores = scores_of(model, kind, output)
    nodes = _Nodes(model.graph)
    named = nodes.op("Identity", scores, name=SCORES)
    named.type, named.shape = scores.type, scores.shape
    if kind == "cross-entropy":
        _cross_entropy(nodes, named, label_rank)
    else:
        _ELEMENTWISE[kind](nodes, named)


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

    def flat(self, scores: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Return scores and labels as vectors, as the gradient builder must know the ranks of broadcast operands."""
        tensor = ir.tensor(np.array([-1], dtype=np.int64), name="dtc::flat")
        shape = ir.Value(name=tensor.name, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1]))
        shape.const_value = tensor
        self.graph.register_initializer(shape)
        return self.op("Reshape", scores, shape), self.input(LABELS, ir.DataType.FLOAT, 1)

    def total(self, values: ir.Value) -> None:
        """The sum of values times their weights is the loss."""
        weight = self.input(WEIGHT, ir.DataType.FLOAT, 1)
        loss = self.op("ReduceSum", self.op("Mul", values, weight), name=LOSS, keepdims=0)
        loss.shape = ir.Shape([])


def _cross_entropy(nodes: _Nodes, scores: ir.Value, label_rank: int) -> None:
    # Scores [N, C, H, W] with labels [N, H, W] go in as they are. Others have the classes last: [T, N, C] becomes [T N,
    # C], with labels [T N].
    spatial = label_rank > 2
    labels = nodes.input(LABELS, ir.DataType.INT64, label_rank if spatial else 1)
    logits = scores if spatial else nodes.op("Flatten", scores, axis=-1)
    node = ir.node(
        "SoftmaxCrossEntropyLoss", [logits, labels], {"reduction": "mean", "ignore_index": PADDING}, num_outputs=2
    )
    for value, name in zip(node.outputs, (LOSS, "dtc::log_probabilities"), strict=True):
        value.name, value.type = name, ir.TensorType(ir.DataType.FLOAT)
    node.outputs[0].shape = ir.Shape([])
    nodes.graph.append(node)


def _squares(nodes: _Nodes, scores: ir.Value) -> None:
    scores, labels = nodes.flat(scores)
    difference = nodes.op("Sub", scores, labels)
    nodes.total(nodes.op("Mul", difference, difference))


def _logistic(nodes: _Nodes, scores: ir.Value) -> None:
    """Softplus(x) - x y, with softplus(x) = (x + |x|) / 2 + log(1 + exp(-|x|)), smooth at 0 and safe far from it."""
    scores, labels = nodes.flat(scores)
    magnitude = nodes.op("Abs", scores)
    positive = nodes.op("Mul", nodes.op("Add", scores, magnitude), nodes.scalar(0.5))
    tail = nodes.op("Log", nodes.op("Add", nodes.op("Exp", nodes.op("Neg", magnitude)), nodes.scalar(1.0)))
    linear = nodes.op("Mul", scores, labels)
    nodes.total(nodes.op("Sub", nodes.op("Add", positive, tail), linear))


_ELEMENTWISE: dict[Kind, Callable[[_Nodes, ir.Value], None]] = {"mse": _squares, "distill": _squares, "bce": _logistic}
