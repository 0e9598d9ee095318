"""Where quantizers are put, and that they round as NumPy does."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from running import run

from dtc.errors import ModelError
from dtc.graph import find_quantizers, find_sites
from dtc.models.net import Net
from dtc.passes.prepare import normalise
from dtc.passes.prepare.quantize_activations import (
    Activation,
    Quantization,
    end_at_clips,
    find_activations,
    quantize_activations,
)
from dtc.passes.solvers.activation_levels import Levels


def residual() -> ir.Model:
    """x V -> h; y = h + h A + h B: two weights and a sum read h."""
    net = Net("residual", 0)
    flat = net.op("Flatten", "flat", [net.input("x", ir.DataType.FLOAT, ["N", 2, 3])])
    h = net.op("Tanh", "h", [net.op("MatMul", "first", [flat, net.uniform("V", (6, 5), 1)])])
    left, right = (net.op("MatMul", f"times{name}", [h, net.uniform(name, (5, 5), 1)]) for name in "AB")
    total = net.op("Add", "sum", [net.op("Add", "inner", [left, right]), h])
    return net.model({"y": (total, ["N", 5])})


def quantized(model: ir.Model, levels: Levels) -> list[Activation]:
    found = find_activations(model, find_sites(model))
    quantize_activations(model, [Quantization(each, levels) for each in found])
    return found


@pytest.mark.parametrize("levels", [Levels(0.01, 100, 8), Levels(0.2, 6, 4), Levels(0.5, 0, 2)])
def test_a_value_has_one_quantizer_for_its_weights_and_none_for_others(levels: Levels) -> None:
    model = residual()
    assert quantized(model, levels) == [Activation("h", ("timesA", "timesB"))]
    (found,) = find_quantizers(model.graph)
    assert found.levels == (pytest.approx(levels.scale), levels.zero_point, 0, 2**levels.bits - 1)
    arrays = {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}
    x = np.random.default_rng(1).normal(size=(40, 2, 3)).astype("f")
    h = np.tanh(x.reshape(40, 6) @ arrays["V"])
    steps = np.clip(np.rint(h / np.float32(levels.scale)) + levels.zero_point, 0, 2**levels.bits - 1)
    rounded = ((steps - levels.zero_point) * levels.scale).astype("f")
    wanted = h + rounded @ arrays["A"] + rounded @ arrays["B"]
    y = run(model, {"x": x})[0]
    # An activation that lies between two levels may be rounded up here and down there.
    assert np.isclose(y, wanted, atol=1e-5).mean() > 0.95
    assert not np.isclose(y, h + h @ arrays["A"] + h @ arrays["B"], atol=1e-5).any(axis=1).all()


def test_the_first_layer_reads_the_input_as_it_is() -> None:
    model = residual()
    first = [site for site in find_sites(model) if site.name == "V"]
    assert find_activations(model, first) == []


def test_what_is_quantized_already_is_left_alone() -> None:
    model = residual()
    quantized(model, Levels(0.1, 3, 4))
    assert find_activations(model, find_sites(model)) == []


def test_quantizers_are_no_sites() -> None:
    model = residual()
    before = [site.name for site in find_sites(model)]
    quantized(model, Levels(0.1, 3, 4))
    normalise(model)
    assert [site.name for site in find_sites(model)] == before


def test_an_old_model_keeps_its_opset_and_clips_floats() -> None:
    model = ir.from_onnx_text(
        '<ir_version: 7, opset_import: ["" : 11]> g (float[n, 2] x) => (float[n, 2] y) '
        "<float[2, 2] A = {1, 2, 3, 4}, float[2, 2] B = {1, 0, 0, 1}> { h = MatMul (x, A) y = MatMul (h, B) }"
    )
    normalise(model)
    found = find_activations(model, find_sites(model))
    quantize_activations(model, [Quantization(found[0], Levels(1.0, 0, 2))])
    assert model.opset_imports[""] == 11
    y = run(model, {"x": np.array([[0.3, 0.1], [1, 1]], "f")})[0]
    np.testing.assert_array_equal(y, [[1, 1], [3, 3]])


@pytest.mark.parametrize(("scale", "ends"), [(6.01 / 255, 6.0), (5.9 / 255, 5.9), (7 / 255, 7.0)])
def test_levels_that_end_hardly_above_a_clip_end_with_it(scale: float, ends: float) -> None:
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 13]> g (float[n, 2] x) => (float[n, 2] y) '
        "<float[2, 2] A = {1, 2, 3, 4}, float[2, 2] B = {1, 0, 0, 1}, float low = {0}, float high = {6}> "
        "{ h = MatMul (x, A) c = Clip (h, low, high) y = MatMul (c, B) }"
    )
    normalise(model)
    found = find_activations(model, find_sites(model))
    quantize_activations(model, [Quantization(found[0], Levels(scale, 0, 8))])
    end_at_clips(model)
    (each,) = find_quantizers(model.graph)
    assert np.float32(each.levels[0]) * np.float32(255) == pytest.approx(ends, rel=1e-6)
    assert ends != 6 or np.float32(each.levels[0]) * np.float32(255) <= 6


def test_another_model_than_the_one_measured_is_refused() -> None:
    away = Quantization(Activation("h", ("nowhere",)), Levels(1.0, 0, 8))
    with pytest.raises(ModelError, match="'h' is not what nowhere read"):
        quantize_activations(residual(), [away])
