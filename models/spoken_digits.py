"""Command models for spoken digits: a convolutional one and a recurrent one (Free Spoken Digit Dataset, 8 kHz)."""

from __future__ import annotations

import onnx_ir as ir
from pydantic import Field

from dtc.models.bidirectional import BidirectionalOptions, build_classifier
from dtc.models.net import Net
from dtc.models.reference import ModelOptions, Reference
from dtc.models.speech_features import BANDS
from dtc.recipe import Data, Objective, Optimizer, Recipe, Schedule, Training


class CommandOptions(ModelOptions):
    """Options of the convolutional command model."""

    channels: int = Field(
        64, ge=2, le=1 << 12, description="channels of the second convolution; the first has a fourth"
    )
    hidden: int = Field(48, ge=1, le=1 << 14, description="width of the hidden fully connected layer")


class RecurrentCommandOptions(BidirectionalOptions):
    """Options of the recurrent command model."""

    features: int = Field(BANDS, ge=1, le=1 << 16, description="features of a step")
    width: int = Field(96, ge=1, le=1 << 14, description="units of each direction")
    layers: int = Field(2, ge=1, le=16, description="bidirectional layers")


def build_command_model(options: CommandOptions) -> ir.Model:
    """Return two 3x3 convolutions with pools and two dense layers: image `[N, 1, 48, 40]`, logits `[N, 10]`."""
    net = Net("spoken-digits-cnn", options.seed)
    image = net.input("image", ir.DataType.FLOAT, ["N", 1, 48, BANDS])
    first, second = max(options.channels // 4, 1), options.channels
    # Padding keeps the sides: [N, 1, 48, 40] -> pool [N, first, 24, 20] -> pool [N, second, 12, 10] -> flat
    x = net.op("Relu", "relu1", [net.conv("conv1", image, (1, first, 3), pad=1)])
    x = net.max_pool("pool1", x)
    x = net.op("Relu", "relu2", [net.conv("conv2", x, (first, second, 3), pad=1)])
    x = net.op("Flatten", "flat", [net.max_pool("pool2", x)])
    x = net.op("Relu", "relu3", [net.linear("fc1", x, (second * 12 * 10, options.hidden))])
    x = net.dropout("drop", x, 0.5)
    return net.model({"logits": (net.linear("fc2", x, (options.hidden, 10)), ["N", 10])})


def _plan(data: str) -> Recipe:
    return Recipe(
        objective=Objective(loss="cross-entropy", output="logits", metric="accuracy"),
        data=Data(train=f"dtc.models.datasets:{data}", batch_size=32),
        training=Training(
            epochs=20,
            distort_every=50,
            optimizer=Optimizer(kind="adam", learning_rate=1e-3),
            schedule=Schedule(kind="cosine"),
        ),
    )


REFERENCES = (
    Reference(
        "spoken-digits-cnn",
        "two convolutions (Free Spoken Digits)",
        CommandOptions,
        build_command_model,
        _plan("spoken_digits"),
    ),
    Reference(
        "spoken-digits-lstm",
        "two bidirectional LSTMs (Free Spoken Digits)",
        RecurrentCommandOptions,
        build_classifier,
        _plan("spoken_frames"),
    ),
)
