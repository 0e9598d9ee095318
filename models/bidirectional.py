"""Bidirectional LSTMs over sequences of unequal length: a digit read column by column, from both sides.

M. Schuster, K. Paliwal, Bidirectional recurrent neural networks, 1997.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from pydantic import Field

from dtc.forms import Array
from dtc.models.net import Net
from dtc.models.reference import ModelOptions, Reference
from dtc.recipe import Data, Objective, Optimizer, Recipe, Training


class BidirectionalOptions(ModelOptions):
    """Options of the bidirectional models."""

    features: int = Field(8, ge=1, le=1 << 16, description="features of a step")
    width: int = Field(64, ge=1, le=1 << 14, description="units of each direction")
    layers: int = Field(1, ge=1, le=16, description="bidirectional layers")
    classes: int = Field(10, ge=2, le=1 << 24, description="classes")


class Encoded(NamedTuple):
    """The last layer's outputs `[T, N, 2 width]` and its last states, one a direction, `[2, N, width]`."""

    steps: ir.Value
    ends: ir.Value


def build_classifier(options: BidirectionalOptions) -> ir.Model:
    """Return a model of one label a sequence: x `[T, N, features]`, lengths int32 `[N]`; logits `[N, classes]`."""
    net = Net("bilstm-classifier", options.seed)
    # last states [2, N, width] -> [N, 2, width] -> [N, 2 * width]: both directions of a sample side by side
    ends = net.op("Transpose", "ends.swapped", [encode(net, *_inputs(net, options), options).ends], perm=[1, 0, 2])
    flat = net.op("Flatten", "ends", [ends])
    logits = net.linear("fc", flat, (2 * options.width, options.classes))
    return net.model({"logits": (logits, ["N", options.classes])})


def build_tagger(options: BidirectionalOptions) -> ir.Model:
    """Return a model of one label a step: x `[T, N, features]`, lengths int32 `[N]`; logits `[T, N, classes]`."""
    net = Net("bilstm-tagger", options.seed)
    steps = encode(net, *_inputs(net, options), options).steps
    logits = classify_steps(net, steps, options.width, np.zeros(options.classes, np.float32))
    return net.model({"logits": (logits, ["T", "N", options.classes])})


def classify_steps(net: Net, steps: ir.Value, width: int, bias: Array) -> ir.Value:
    """Add a layer over each step: steps `[T, N, 2 width]`, bias `[classes]`; logits `[T, N, classes]`."""
    weight = net.uniform("fc.weight", (2 * width, len(bias)), 1 / np.sqrt(2 * width))
    return net.op("Add", "fc.shifted", [net.op("MatMul", "fc", [steps, weight]), net.constant("fc.bias", bias)])


def encode(net: Net, x: ir.Value, lengths: ir.Value, options: BidirectionalOptions) -> Encoded:
    """Add the layers: x `[T, N, features]`, lengths int32 `[N]`; what lies behind a length comes out as 0."""
    # The next layer reads both directions: y [T, 2, N, width] -> [T, N, 2, width] -> [T, N, 2 * width]. A 0 in the
    # shape of a Reshape keeps the size of the input.
    joined = net.constant("joined_shape", np.array([0, 0, 2 * options.width], np.int64))
    features = options.features
    for layer in range(1, options.layers + 1):
        y, h = _lstm(net, f"lstm{layer}", x, lengths, (features, options.width))
        swapped = net.op("Transpose", f"lstm{layer}.swapped", [y], perm=[0, 2, 1, 3])  # [T, N, 2, width]
        x = net.op("Reshape", f"lstm{layer}.joined", [swapped, joined])
        features = 2 * options.width
    return Encoded(x, h)


def _inputs(net: Net, options: BidirectionalOptions) -> tuple[ir.Value, ir.Value]:
    x = net.input("x", ir.DataType.FLOAT, ["T", "N", options.features])
    return x, net.input("lengths", ir.DataType.INT32, ["N"])


def _lstm(net: Net, name: str, x: ir.Value, lengths: ir.Value, shape: tuple[int, int]) -> list[ir.Value]:
    features, width = shape
    limit = 1 / np.sqrt(width)
    # By ONNX's layout: directions first, gates i o f c stacked; B holds the biases of W, then those of R.
    w = net.uniform(f"{name}.W", (2, 4 * width, features), limit)
    r = net.uniform(f"{name}.R", (2, 4 * width, width), limit)
    b = net.constant(f"{name}.B", np.zeros((2, 8 * width), np.float32))
    outputs = [f"{name}.y", f"{name}.h"]
    return net.ops("LSTM", name, [x, w, r, b, lengths], outputs, hidden_size=width, direction="bidirectional")


def _plan(data: str, lengths: str | None = None) -> Recipe:
    return Recipe(
        objective=Objective(loss="cross-entropy", output="logits", metric="accuracy", lengths=lengths),
        data=Data(train=f"dtc.models.datasets:{data}", evaluate=f"dtc.models.datasets:{data}_test", batch_size=32),
        training=Training(epochs=20, distort_every=10, optimizer=Optimizer(kind="adam", learning_rate=3e-3)),
    )


REFERENCES = (
    Reference(
        "bilstm-classifier",
        "bidirectional LSTM, one label a sequence (columns of scikit-learn's digits)",
        BidirectionalOptions,
        build_classifier,
        _plan("digit_columns"),
    ),
    Reference(
        "bilstm-tagger",
        "bidirectional LSTM, one label a step (columns of scikit-learn's digits)",
        BidirectionalOptions,
        build_tagger,
        _plan("digit_column_tags", lengths="lengths"),
    ),
)
