"""Integers of 8 bits: the levels of weights, and whole compressions with samples, without, and with retraining."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from dtc import models
from dtc.graph import find_quantizers, load_model, save_model
from dtc.job import Job
from dtc.passes.method import Weights, make_method
from dtc.pipeline import compress
from dtc.recipe import Data, Recipe, Rule, Training
from dtc.recipe.parts import Optimizer
from dtc.report import Report

DIGITS = Data(train="dtc.models.datasets:digits", evaluate="dtc.models.datasets:digits_test")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    save_model(models.build("digits-cnn", hidden=256), path)
    return path


@pytest.mark.parametrize(("reduce_range", "most"), [(True, 63), (False, 127)])
def test_weights_are_whole_steps_on_both_sides_of_0_a_scale_a_channel(reduce_range: bool, most: int) -> None:
    matrix = np.random.default_rng(0).normal(size=(1, 20, 300)).astype(np.float32)
    matrix[0, 0], matrix[0, 1, 0] = 0, -9
    form = make_method("int8", {"reduce_range": reduce_range}).distort([Weights("w", matrix, "n")])["w"][0]
    assert form.even is not None
    assert form.even.zero is None
    steps = form.levels.astype(int) - form.even.middle
    np.testing.assert_array_equal(form.dense(), steps * form.even.scale.astype(np.float32))
    # The lowest level is left out, so that a channel may change its sign.
    assert np.abs(steps).max() == most
    (turned,) = form.scaled([form], np.full((1, 20), -3, np.float32))
    np.testing.assert_array_equal(turned.dense(), -3 * form.dense())
    errors = np.square(form.dense() - matrix[0]).sum(axis=1)[2:] / np.square(matrix[0, 2:]).sum(axis=1)
    assert errors.max() < (most / 4) ** -2


def integer_kernels(path: Path) -> Counter[str]:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path.with_suffix(".optimized"))
    options.log_severity_level = 3
    ort.InferenceSession(str(path), options)
    kinds = Counter(node.op_type for node in onnx.load(path.with_suffix(".optimized")).graph.node)
    return Counter({kind: count for kind, count in kinds.items() if kind.startswith("Q") and kind[1].isupper()})


def compressed(model: Path, output: Path, data: Data, training: Training | None = None) -> Report:
    recipe = Recipe(rules=(Rule(method="int8"),), data=data, training=training)
    return compress(model, recipe, Job(output, seconds=0.0)).report


def test_samples_give_levels_and_retraining_trains_them(model: Path, tmp_path: Path) -> None:
    output, again = tmp_path / "once.onnx", tmp_path / "trained.onnx"
    report = compressed(model, output, DIGITS)
    assert report.fidelity is not None
    assert report.fidelity.quantizers == len(find_quantizers(load_model(output).graph)) > 2
    kernels = integer_kernels(output)
    assert kernels["QLinearConv"] == 1  # the other one reads the input
    assert kernels["QGemm"] == 2
    levels = [each.levels[0] for each in find_quantizers(load_model(output).graph)]
    training = Training(steps=60, distort_every=20, threads=1, optimizer=Optimizer(learning_rate=3e-3))
    trained = compressed(model, again, DIGITS, training)
    assert integer_kernels(again) == kernels
    assert [each.levels[0] for each in find_quantizers(load_model(again).graph)] != pytest.approx(levels, rel=1e-4)
    assert trained.check is not None
    assert trained.check.metric is not None
    assert trained.check.metric.after > 0.3 > trained.check.metric.before


def test_without_samples_weights_alone_are_rounded(model: Path, tmp_path: Path) -> None:
    report = compressed(model, tmp_path / "out.onnx", Data())
    assert report.ratios.file > 3
    assert not integer_kernels(tmp_path / "out.onnx")


def test_a_float16_model_that_tells_no_types_is_measured_on_samples(tmp_path: Path) -> None:
    text = "(float16[n,64] x, float16[64,96] A, float16[96,96] B) => (float16[n,96] y)"
    made = ir.from_onnx_text(
        f'<ir_version: 8, opset_import: ["": 17]> g {text} {{ h = MatMul(x, A) r = Relu(h) y = MatMul(r, B) }}'
    )
    rng = np.random.default_rng(0)
    for name, value in [(str(value.name), value) for value in made.graph.inputs[1:]]:
        shape = [int(str(size)) for size in value.shape or ()]
        value.const_value = ir.tensor((rng.normal(size=shape) / 8).astype(np.float16), name=name)
        made.graph.inputs.remove(value)
        made.graph.register_initializer(value)
    save_model(made, tmp_path / "half.onnx")
    np.savez(tmp_path / "d.npz", x=rng.normal(size=(64, 64)).astype(np.float16))
    report = compressed(tmp_path / "half.onnx", tmp_path / "out.onnx", Data(train=str(tmp_path / "d.npz")))
    assert report.ratios.file > 1.8
