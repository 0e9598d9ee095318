"""Softmax, and normalizations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from dtc.deploy.codegen.axes import strides
from dtc.deploy.codegen.compiling import Compiler, NodeCompiling

_AXIS_ALONE = 13
"""The opset from which Softmax is over its axis alone; before, it is over all from that one on."""


def _softmax(kernel: str, at: NodeCompiling) -> None:
    x = at.tensor(0)
    at.expect_float(x)
    old = at.opset < _AXIS_ALONE
    axis = at.node.attributes.get_int("axis", 1 if old else -1) % len(x.shape)
    size, inner = (math.prod(x.shape[axis:]), 1) if old else (x.shape[axis], strides(x.shape)[axis])
    at.call(f"dtc_{kernel}", x.size // (size * inner), size, inner, x, at.output(), over=x)


def _layer(at: NodeCompiling) -> None:
    x = at.tensor(0)
    at.expect_float(x)
    if at.writes(1) or at.writes(2):
        raise at.refuse("mean and deviation as outputs are not there")
    axis = at.node.attributes.get_int("axis", -1) % len(x.shape)
    shape = x.shape[axis:]
    scale = np.broadcast_to(at.constant(1, "its scales"), shape)
    bias = at.floats(np.broadcast_to(at.constant(2, "its biases"), shape)) if at.has(2) else None
    size = math.prod(shape)
    epsilon = at.node.attributes.get_float("epsilon", 1e-5)
    at.call("dtc_normalize", x.size // size, size, epsilon, at.floats(scale), bias, x, at.output(), over=x)


def _instance(at: NodeCompiling) -> None:
    x = at.tensor(0)
    at.expect_float(x)
    scale, bias = (at.floats(at.constant(index, "its scales and biases")) for index in (1, 2))
    channels, inner = x.shape[1], math.prod(x.shape[2:])
    epsilon = at.node.attributes.get_float("epsilon", 1e-5)
    y = at.output()
    at.call("dtc_normalize", x.shape[0] * channels, inner, epsilon, None, None, x, y, over=x)
    at.call("dtc_affine", x.shape[0], channels, inner, scale, bias, y, y)


def _batch(at: NodeCompiling) -> None:
    x = at.tensor(0)
    at.expect_float(x)
    if at.node.attributes.get_int("training_mode", 0):
        raise at.refuse("it is in training mode")
    scale, bias, mean, variance = (at.constant(index, "its statistics").astype(np.float64) for index in range(1, 5))
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = scale / np.sqrt(variance + at.node.attributes.get_float("epsilon", 1e-5))
    channels, inner = x.shape[1], math.prod(x.shape[2:])
    constants = at.floats(factor), at.floats(bias - mean * factor)
    at.call("dtc_affine", x.shape[0], channels, inner, *constants, x, at.output(), over=x, multiply_adds=x.size)


COMPILERS: Mapping[str, Compiler] = {
    "Softmax": partial(_softmax, "softmax"),
    "LogSoftmax": partial(_softmax, "log_softmax"),
    "LayerNormalization": _layer,
    "InstanceNormalization": _instance,
    "BatchNormalization": _batch,
}
