"""Run in the engine's process: every node test of the onnx package, forward and gradients; prints JSON.

Name -> "right", "wrong", or the text of the error; and for nodes whose outputs are floats that depend on floats, the
relative error of a directional derivative in double precision.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import InlinePass

from dtc.errors import DtcError
from dtc.training.engines.torch.calls import OPERATORS, Moment
from dtc.training.engines.torch.dtypes import array_of, tensor_of
from dtc.training.engines.torch.program import Program

STEP = 1e-6
_RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniformLike"})
# Of these the first input alone is moved: the others say where to look, and their derivative is that of a jump.
_PLACES = frozenset({"GridSample", "Pad", "Resize", "Upsample"})
# What they compute inside is rounded to float32, whatever is fed: no differences can be taken of it.
_NARROW = frozenset({"Cast", "CastLike"})


def draws(node: onnx.NodeProto) -> bool:
    """True where a node's outputs are random numbers; the third input of Dropout turns it on."""
    return node.op_type in _RANDOM or (node.op_type == "Dropout" and len(node.input) == 3)


def told(value: Any) -> Any:
    """The value of a node test as the program takes it."""
    if isinstance(value, list):
        return [told(item) for item in value]
    return None if value is None else tensor_of(np.asarray(value))


def equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, onnx.TensorProto):
        expected = onnx.numpy_helper.to_array(expected)
    if expected is None or isinstance(expected, (list, tuple)):
        same = type(found) in (type(expected), list) and (expected is None or len(found) == len(expected))
        return same and (expected is None or all(equal(a, b) for a, b in zip(found, expected, strict=True)))
    array, expected = array_of(found), np.asarray(expected)
    if array.shape != expected.shape:
        return False
    wide = "c16" if expected.dtype.kind == "c" else "f8"
    near = {"rtol": 2e-2, "atol": 1e-2} if expected.dtype.itemsize <= 2 else {"rtol": 1e-3, "atol": 1e-5}
    return np.allclose(array.astype(wide), expected.astype(wide), equal_nan=True, **near)


def run(model: ir.Model, inputs: list[Any]) -> list[Any]:
    program = Program(model, [])
    with torch.no_grad():
        return program.run(dict(zip(model.graph.inputs, inputs, strict=False)), list(model.graph.outputs), Moment())


def slope(model: ir.Model, inputs: list[Any]) -> float | None:
    """Relative error of the derivative of a weighted sum of the outputs, in a random direction of the float inputs."""
    program, rng = Program(model, []), np.random.default_rng(0)
    # Moved a little off the corners and equal numbers on which tests like to sit.
    wide = [
        x.double() + 0.01 * torch.from_numpy(rng.random(tuple(x.shape)))
        if isinstance(x, torch.Tensor) and x.is_floating_point()
        else x
        for x in inputs
    ]
    moved = [i for i, x in enumerate(wide) if isinstance(x, torch.Tensor) and x.dtype == torch.float64 and x.numel()]
    if _PLACES.intersection(node.op_type for node in model.graph):
        wide = [
            x if i == 0 or not isinstance(x, torch.Tensor) else y
            for i, (x, y) in enumerate(zip(wide, inputs, strict=True))
        ]
        moved = moved[:1] if moved[:1] == [0] else []
    directions = {i: torch.from_numpy(rng.normal(size=tuple(wide[i].shape))) for i in moved}

    def total(values: list[Any]) -> torch.Tensor | None:
        given = dict(zip(model.graph.inputs, values, strict=False))
        outputs = program.run(given, list(model.graph.outputs), Moment())
        floats = [y for y in outputs if isinstance(y, torch.Tensor) and y.is_floating_point() and y.requires_grad]
        weights = np.random.default_rng(1)
        parts = [(y.double() * torch.from_numpy(weights.normal(size=tuple(y.shape)))).sum() for y in floats]
        return sum(parts) if parts else None

    leaves = [x.clone().requires_grad_() if i in moved else x for i, x in enumerate(wide)]
    value = total(leaves)
    if not moved or value is None or not torch.isfinite(value):
        return None
    gradients = torch.autograd.grad(value, [leaves[i] for i in moved], allow_unused=True)
    exact = sum(float((g * directions[i]).sum()) for i, g in zip(moved, gradients, strict=True) if g is not None)
    ends = []
    for sign in (1, -1):
        shifted = [(x + sign * STEP * directions[i]).requires_grad_() if i in moved else x for i, x in enumerate(wide)]
        end = total(shifted)
        assert end is not None
        ends.append(float(end))
    numeric = (ends[0] - ends[1]) / (2 * STEP)
    # At the end of a domain, such as acosh(1), there is no derivative.
    return abs(numeric - exact) / max(1.0, abs(exact), abs(numeric)) if np.isfinite(exact) else None


def smooth(model: ir.Model) -> bool:
    """True where every operator has a gradient, in the precision of its inputs."""
    return all(
        (found := OPERATORS.get(node)) is not None and found.differentiable and node.op_type not in _NARROW
        for node in model.graph.all_nodes()
    )


def examine(proto: onnx.ModelProto, data: list[tuple[list[Any], list[Any]]]) -> list[object]:
    try:
        model = ir.serde.deserialize_model(proto)
        InlinePass()(model)
        for inputs, expected in data:
            given = [told(value) for value in inputs]
            found = run(model, given)
            if not all(equal(a, b) for a, b in zip(found, expected, strict=True)):
                return ["wrong", None]
    except DtcError as error:
        return [str(error), None]
    if not smooth(model):
        return ["right", None]
    try:
        return ["right", slope(model, [told(value) for value in data[0][0]])]
    except DtcError:  # a constant of the graph is float32: in double precision it cannot be run
        return ["right", None]


def main() -> None:
    warnings.simplefilter("ignore")  # of the tests' own arithmetic
    from onnx.backend.test.loader import load_model_tests

    found = {}
    for case in load_model_tests(kind="node"):
        proto = case.model if case.model is not None else onnx.load(f"{case.model_dir}/model.onnx")
        if not any(draws(node) for node in proto.graph.node) and case.data_sets is not None:
            found[case.name] = examine(proto, case.data_sets)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
