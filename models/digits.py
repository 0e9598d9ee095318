"""Two small networks for the 8x8 digits that come with scikit-learn: trained in seconds, a few hundred kilobytes."""

from __future__ import annotations

import onnx_ir as ir
from pydantic import Field

from dtc.models.net import Net
from dtc.models.reference import ModelOptions, Reference
from dtc.recipe import Data, Objective, Optimizer, Recipe, Training


class DigitsOptions(ModelOptions):
    """Options of the digits networks."""

    hidden: int = Field(256, ge=1, le=1 << 16, description="width of the hidden fully connected layers")


def build_mlp(options: DigitsOptions) -> ir.Model:
    """Return the network 64-hidden-hidden-10: image `[N, 1, 8, 8]` in 0..1, logits `[N, 10]`."""
    net = Net("digits-mlp", options.seed)
    x = net.op("Flatten", "flat", [net.input("image", ir.DataType.FLOAT, ["N", 1, 8, 8])])
    x = net.op("Relu", "relu1", [net.linear("fc1", x, (64, options.hidden))])
    x = net.op("Relu", "relu2", [net.linear("fc2", x, (options.hidden, options.hidden))])
    return net.model({"logits": (net.linear("fc3", x, (options.hidden, 10)), ["N", 10])})


def build_cnn(options: DigitsOptions) -> ir.Model:
    """Return two 3x3 convolutions, a pool, and two dense layers: image `[N, 1, 8, 8]` in 0..1, logits `[N, 10]`."""
    net = Net("digits-cnn", options.seed)
    image = net.input("image", ir.DataType.FLOAT, ["N", 1, 8, 8])
    x = net.op("Relu", "relu1", [net.conv("conv1", image, (1, 16, 3), pad=1)])
    x = net.op("Relu", "relu2", [net.conv("conv2", x, (16, 32, 3), pad=1)])
    # Padding keeps 8x8 up to here: [N, 32, 8, 8] -> pool [N, 32, 4, 4] -> flat [N, 512]
    x = net.op("Flatten", "flat", [net.max_pool("pool", x)])
    x = net.op("Relu", "relu3", [net.linear("fc1", x, (512, options.hidden))])
    return net.model({"logits": (net.linear("fc2", x, (options.hidden, 10)), ["N", 10])})


_PLAN = Recipe(
    objective=Objective(loss="cross-entropy", output="logits", metric="accuracy"),
    data=Data(train="dtc.models.datasets:digits", evaluate="dtc.models.datasets:digits_test", batch_size=32),
    training=Training(epochs=20, distort_every=10, optimizer=Optimizer(kind="adam", learning_rate=1e-3)),
)

REFERENCES = (
    Reference("digits-mlp", "two hidden layers (scikit-learn's digits)", DigitsOptions, build_mlp, _PLAN),
    Reference("digits-cnn", "two convolutions (scikit-learn's digits)", DigitsOptions, build_cnn, _PLAN),
)
