"""A model that spells sequences of spoken digits: convolutions, bidirectional LSTMs, a layer over each step.

Like Deep Speech 2 (D. Amodei et al., 2015, arXiv 1512.02595), smaller: its outputs are trained by CTC.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from pydantic import Field

from dtc.ctc import BLANK
from dtc.models.bidirectional import BidirectionalOptions, classify_steps, encode
from dtc.models.net import Net
from dtc.models.reference import ModelOptions, Reference
from dtc.models.speech_features import BANDS
from dtc.recipe import Data, Objective, Optimizer, Recipe, Schedule, Training

CLASSES = 11
"""The blank and ten digits."""

_BLANK = 6.0
"""The bias of a blank to begin with: what lies behind an end is one from the first step on, by 0.98."""


class SpellerOptions(ModelOptions):
    """Options of the model of digit sequences."""

    filters: int = Field(16, ge=1, le=1 << 12, description="filters of each convolution")
    width: int = Field(96, ge=1, le=1 << 14, description="units of each direction of a layer")
    layers: int = Field(2, ge=1, le=16, description="bidirectional layers")
    dropout: float = Field(0.2, ge=0, lt=1, description="rate of the Dropout before the last layer")


def build_speller(options: SpellerOptions) -> ir.Model:
    """Return the model: x `[N, 1, frames, 40]`, lengths int32 `[N]`; logits `[frames / 2, N, 11]`, class 0 the blank.

    Behind the end of a sequence the logits are the bias of the last layer, of which a blank has the most.
    """
    net = Net("spoken-sequences", options.seed)
    x = net.input("x", ir.DataType.FLOAT, ["N", 1, "frames", BANDS])
    lengths = net.input("lengths", ir.DataType.INT32, ["N"])
    # [N, 1, frames, 40] -> [N, filters, steps, 20] -> [N, filters, steps, 10]; two frames are a step.
    filters = options.filters
    x = net.op("Relu", "relu1", [net.conv("conv1", x, (1, filters, 3), pad=1, strides=(2, 2))])
    x = net.op("Relu", "relu2", [net.conv("conv2", x, (filters, filters, 3), pad=1, strides=(1, 2))])
    steps = net.op("Transpose", "steps.first", [x], perm=[2, 0, 1, 3])
    # A 0 in the shape of a Reshape keeps the size of the input: [steps, N, filters * 10].
    features = filters * BANDS // 4
    steps = net.op("Reshape", "steps", [steps, net.constant("steps_shape", np.array([0, 0, features], np.int64))])
    one, two = (net.constant(name, np.array(number, np.int32)) for name, number in (("one", 1), ("two", 2)))
    counts = net.op("Div", "counts", [net.op("Add", "lengths.up", [lengths, one]), two])
    layers = BidirectionalOptions(seed=options.seed, features=features, width=options.width, layers=options.layers)
    steps = net.dropout("drop", encode(net, steps, counts, layers).steps, options.dropout)
    bias = np.zeros(CLASSES, np.float32)
    bias[BLANK] = _BLANK
    return net.model({"logits": (classify_steps(net, steps, options.width, bias), ["steps", "N", CLASSES])})


REFERENCES = (
    Reference(
        "spoken-sequences",
        "convolutions, bidirectional LSTMs and CTC (sequences of Free Spoken Digits)",
        SpellerOptions,
        build_speller,
        Recipe(
            objective=Objective(loss="ctc", output="logits", metric="label-error"),
            data=Data(train="dtc.models.datasets:spoken_sequences", batch_size=16),
            training=Training(
                epochs=20,
                distort_every=50,
                optimizer=Optimizer(kind="adam", learning_rate=3e-3, clip_norm=1.0),
                schedule=Schedule(kind="cosine"),
            ),
        ),
    ),
)
