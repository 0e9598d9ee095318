"""Activations without a gradient in the training build, in terms of ones that have it.

Formulas: the ONNX specification of each operator.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from dtc.graph.builder import Builder, Shared, replace_node


def expand_activations(model: ir.Model, shared: Shared) -> None:
    """Rewrite PRelu, Elu, Softplus, Softsign, HardSigmoid and HardSwish."""
    for node in list(model.graph):
        rule = _RULES.get(node.op_type) if node.domain == "" else None
        if rule is not None and node.inputs[0] is not None:
            build = shared.builder(str(node.name))
            replace_node(node, build, {node.outputs[0]: rule(build, node, node.inputs[0])})


def _negative_part(build: Builder, x: ir.Value) -> ir.Value:
    """max(-x, 0)."""
    return build.op("Relu", [build.op("Neg", [x])])


def _prelu(build: Builder, node: ir.Node, x: ir.Value) -> ir.Value:
    # max(x, 0) - slope max(-x, 0): for x = -2 and slope 0.25 that is 0 - 0.5.
    return build.op("Sub", [build.op("Relu", [x]), build.op("Mul", [node.inputs[1], _negative_part(build, x)])])


def _elu(build: Builder, node: ir.Node, x: ir.Value) -> ir.Value:
    # max(x, 0) + alpha (exp(min(x, 0)) - 1): the exponent is never positive, so that nothing overflows where x is
    # large, which would make 0 * inf of the gradient.
    decayed = build.op("Exp", [build.op("Neg", [_negative_part(build, x)])])
    below = build.op("Sub", [decayed, build.constant(1.0)])
    alpha = build.constant(node.attributes.get_float("alpha", 1.0) or 0.0)
    return build.op("Add", [build.op("Relu", [x]), build.op("Mul", [alpha, below])])


def _softplus(build: Builder, _: ir.Node, x: ir.Value) -> ir.Value:
    # log(1 + exp(x)) as (x + |x|) / 2 + log(1 + exp(-|x|)): exp(100) overflows float32, exp(-100) is 0.
    magnitude = build.op("Abs", [x])
    linear = build.op("Mul", [build.op("Add", [x, magnitude]), build.constant(0.5)])
    tail = build.op("Add", [build.op("Exp", [build.op("Neg", [magnitude])]), build.constant(1.0)])
    return build.op("Add", [linear, build.op("Log", [tail])])


def _softsign(build: Builder, _: ir.Node, x: ir.Value) -> ir.Value:
    return build.op("Div", [x, build.op("Add", [build.op("Abs", [x]), build.constant(1.0)])])


def _hard_sigmoid(build: Builder, node: ir.Node, x: ir.Value) -> ir.Value:
    alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    return _ramp(build, x, 0.2 if alpha is None else alpha, 0.5 if beta is None else beta)


def _hard_swish(build: Builder, _: ir.Node, x: ir.Value) -> ir.Value:
    return build.op("Mul", [x, _ramp(build, x, 1 / 6, 0.5)])


def _ramp(build: Builder, x: ir.Value, slope: float, offset: float) -> ir.Value:
    line = build.op("Add", [build.op("Mul", [x, build.constant(slope)]), build.constant(offset)])
    return build.clip(line, 0.0, 1.0)


_RULES: dict[str, Callable[[Builder, ir.Node, ir.Value], ir.Value]] = {
    "PRelu": _prelu,
    "Elu": _elu,
    "Softplus": _softplus,
    "Softsign": _softsign,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
}
