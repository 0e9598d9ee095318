"""LeNet-300-100 and LeNet-5 for MNIST, as compression papers use them.

Y. LeCun et al., Gradient-based learning applied to document recognition, 1998; LeNet-5 in the form of Caffe's
example, which has no activation after its convolutions. S. Han et al., 2015 (arXiv 1506.02626) and J. Lee et al.,
DeepTwist, 2018 (arXiv 1810.12823) compress these two; DeepTwist without dropout.
"""

from __future__ import annotations

import onnx_ir as ir
from pydantic import Field

from dtc.models.net import Net
from dtc.models.reference import ModelOptions, Reference
from dtc.recipe import Data, Objective, Optimizer, Recipe, Training


class LenetOptions(ModelOptions):
    """Options of both LeNets."""

    dropout: float = Field(0.0, ge=0, lt=1, description="share dropped after each hidden fully connected layer")


def build_lenet_300_100(options: LenetOptions) -> ir.Model:
    """Return the network 784-300-100-10: image `[N, 1, 28, 28]` in 0..1, logits `[N, 10]`; 266,200 weights."""
    net = Net("lenet-300-100", options.seed)
    image = net.input("image", ir.DataType.FLOAT, ["N", 1, 28, 28])
    x = net.op("Flatten", "flat", [image])
    x = net.op("Relu", "relu1", [net.linear("fc1", x, (784, 300))])
    x = net.dropout("drop1", x, options.dropout)
    x = net.op("Relu", "relu2", [net.linear("fc2", x, (300, 100))])
    x = net.dropout("drop2", x, options.dropout)
    return net.model({"logits": (net.linear("fc3", x, (100, 10)), ["N", 10])})


def build_lenet_5(options: LenetOptions) -> ir.Model:
    """Return Caffe's LeNet-5: image `[N, 1, 28, 28]` in 0..1, logits `[N, 10]`; 430,500 weights."""
    net = Net("lenet-5", options.seed)
    image = net.input("image", ir.DataType.FLOAT, ["N", 1, 28, 28])
    # [N, 1, 28, 28] -> conv [N, 20, 24, 24] -> pool [N, 20, 12, 12]
    x = net.max_pool("pool1", net.conv("conv1", image, (1, 20, 5)))
    # -> conv [N, 50, 8, 8] -> pool [N, 50, 4, 4] -> flat [N, 800]
    x = net.max_pool("pool2", net.conv("conv2", x, (20, 50, 5)))
    x = net.op("Flatten", "flat", [x])
    x = net.op("Relu", "relu1", [net.linear("fc1", x, (800, 500))])
    x = net.dropout("drop1", x, options.dropout)
    return net.model({"logits": (net.linear("fc2", x, (500, 10)), ["N", 10])})


# 20,000 steps of batch 50 are DeepTwist's; the rate is the one of four tried that recovers best from distortions.
_PLAN = Recipe(
    objective=Objective(loss="cross-entropy", output="logits", metric="accuracy"),
    data=Data(train="dtc.models.datasets:mnist", evaluate="dtc.models.datasets:mnist_test", batch_size=50),
    training=Training(steps=20_000, evaluate_every=1200, optimizer=Optimizer(kind="adam", learning_rate=1e-3)),
)

REFERENCES = (
    Reference("lenet-300-100", "LeNet-300-100 (MNIST)", LenetOptions, build_lenet_300_100, _PLAN),
    Reference("lenet-5", "LeNet-5 of Caffe (MNIST)", LenetOptions, build_lenet_5, _PLAN),
)
