"""Activations without a gradient in the training build, in terms of ones that have it.

Formulas: the ONNX specification of each operator.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from dtc.training.engines.ort.trainable.builder import Builder


def expand_activations(model: ir.Model, opset: int) -> None:
    """Rewrite PRelu, Elu, Softplus, Softsign, HardSigmoid and HardSwish."""
    for node in list(model.graph):
        rule = _RULES.get(node.op_type) if node.domain == "" else None
        if rule is not None and node.inputs[0] is not None:
            build = Builder(node, opset)
            build.finish({node.outputs[0]: rule(build, node, node.inputs[0])})


def _scalar(build: Builder, number: float) -> ir.Value:
    return build.constant(np.array(number, dtype=np.float32))


def _negative_part(build: Builder, x: ir.Value) -> ir.Value:
    """max(-x, 0)."""
    return build.op("Relu", build.op("Neg", x))


def _prelu(build: Builder, node: ir.Node, x: ir.Value) -> ir.Value:
    return build.op("Sub", build.op("Relu", x), build.op("Mul", node.inputs[1], _negative_part(build, x)))


def _elu(build: Builder, node: ir.Node, x: ir.Value) -> ir.Value:
    decayed = build.op("Exp", build.op("Neg", _negative_part(build, x)))
    below = build.op("Sub", decayed, _scalar(build, 1.0))
    alpha = _scalar(build, node.attributes.get_float("alpha", 1.0) or 0.0)
    return build.op("Add", build.op("Relu", x), build.op("Mul", alpha, below))


def _softplus(build: Builder, _: ir.Node, x: ir.Value) -> ir.Value:
    magnitude = build.op("Abs", x)
    linear = build.op("Mul", build.op("Add", x, magnitude), _scalar(build, 0.5))
    tail = build.op("Add", build.op("Exp", build.op("Neg", magnitude)), _scalar(build, 1.0))
    return build.op("Add", linear, build.op("Log", tail))


def _softsign(build: Builder, _: ir.Node, x: ir.Value) -> ir.Value:
    return build.op("Div", x, build.op("Add", build.op("Abs", x), _scalar(build, 1.0)))


def _hard_sigmoid(build: Builder, node: ir.Node, x: ir.Value) -> ir.Value:
    alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    return _ramp(build, x, 0.2 if alpha is None else alpha, 0.5 if beta is None else beta)


def _hard_swish(build: Builder, _: ir.Node, x: ir.Value) -> ir.Value:
    return build.op("Mul", x, _ramp(build, x, 1 / 6, 0.5))


def _ramp(build: Builder, x: ir.Value, slope: float, offset: float) -> ir.Value:
    line = build.op("Add", build.op("Mul", x, _scalar(build, slope)), _scalar(build, offset))
    return build.op("Clip", line, _scalar(build, 0.0), _scalar(build, 1.0))


_RULES: dict[str, Callable[[Builder, ir.Node, ir.Value], ir.Value]] = {
    "PRelu": _prelu,
    "Elu": _elu,
    "Softplus": _softplus,
    "Softsign": _softsign,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
}
