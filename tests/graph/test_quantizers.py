"""Which nodes are quantizers of activations, against what ONNX Runtime computes with and without them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from running import run

from dtc.graph import bypass_quantizers, find_quantizers
from dtc.passes.prepare import normalise

ARRAYS = "float s = {0.5}, float t = {0.5}, float[2] pair = {0.5, 0.25}, uint8 z = {3}, uint8 lo = {1}, uint8 hi = {12}"
PLAIN = "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)"
CLIPPED = "q = QuantizeLinear (x, s, z) c = Clip (q, lo, hi) y = DequantizeLinear (c, s, z)"


def model_of(body: str, outputs: str = "float[n, 2] y", arrays: str = ARRAYS) -> ir.Model:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[n, 2] x) => ({outputs}) <{arrays}> {{ {body} }}'
    return ir.from_onnx_text(text)


@pytest.mark.parametrize(("body", "bounds"), [(PLAIN, (0, 255)), (CLIPPED, (1, 12))])
def test_a_quantizer_rounds_to_the_levels_that_it_is_said_to(body: str, bounds: tuple[int, int]) -> None:
    model = model_of(body.replace("y =", "r =") + " y = Identity (r)")
    (found,) = find_quantizers(model.graph)
    assert found.levels == (0.5, 3, *bounds)
    x = np.linspace(-200, 200, 999, dtype=np.float32)[:998].reshape(-1, 2)
    rounded = (np.clip(np.rint(x / 0.5) + 3, *bounds) - 3) * 0.5
    np.testing.assert_array_equal(run(model, {"x": x})[0], rounded.astype(np.float32))
    assert bypass_quantizers(model) == 1
    np.testing.assert_array_equal(run(model, {"x": x})[0], x)


@pytest.mark.parametrize(
    "body",
    [
        "q = QuantizeLinear (x, pair) r = DequantizeLinear (q, pair) y = Identity (r)",
        "q = QuantizeLinear (x, s, z) r = DequantizeLinear (q, s) y = Identity (r)",
        "q = QuantizeLinear (x, s, z) r = DequantizeLinear (q, s, z) i = Cast <to = 1> (q) y = Add (r, i)",
        "q = QuantizeLinear (x, s, z) r = DequantizeLinear (q, s, z) y = Mul (r, s)",
        "u = Abs (s) q = QuantizeLinear (x, u, z) r = DequantizeLinear (q, u, z) y = Identity (r)",
        "q = QuantizeLinear (pair, s, z) r = DequantizeLinear (q, s, z) y = Add (x, r)",
        "q = QuantizeLinear (x, s, z) r = DequantizeLinear (q, t, z) y = Identity (r)",
    ],
    ids=["a scale of two", "two zero points", "integers read", "scale read", "computed", "a weight", "two scales"],
)
def test_what_is_no_quantizer_of_an_activation(body: str) -> None:
    assert find_quantizers(model_of(body).graph) == []


def test_equal_constants_become_one_scale() -> None:
    constants = "a = Constant <value = float {0.5}> () b = Constant <value = float {0.5}> () "
    model = model_of(constants + "q = QuantizeLinear (x, a, z) r = DequantizeLinear (q, b, z) y = Identity (r)")
    normalise(model)
    (found,) = find_quantizers(model.graph)
    assert {use.node.op_type for use in found.scale.uses()} == {"QuantizeLinear", "DequantizeLinear"}


def test_other_constants_stay_two() -> None:
    model = model_of(
        "q = QuantizeLinear (x, s, z) r = DequantizeLinear (q, t, z) y = Identity (r)",
        arrays=ARRAYS.replace("t = {0.5}", "t = {0.25}"),
    )
    normalise(model)
    assert find_quantizers(model.graph) == []
    assert {"s", "t"} <= set(model.graph.initializers)
