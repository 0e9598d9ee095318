"""What a model loses with other weights, against running the changed model itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from dtc import models
from dtc.calibration import make_probe
from dtc.data import open_source
from dtc.graph import find_sites, save_model
from dtc.recipe import Objective


def test_without_data_it_is_the_relative_error_of_the_outputs() -> None:
    model = models.build("digits-mlp")
    sites = find_sites(model)
    probe = make_probe(model, sites, Objective(), source=None, seed=0, fixed={})
    assert probe({}) == 0
    last = sites[-1]  # the logits are linear in the last weight
    assert probe({last.name: last.matrices() * 1.1}) == pytest.approx(0.01, rel=0.2)
    assert probe({last.name: last.matrices() * 1.3}) == pytest.approx(0.09, rel=0.2)
    assert probe({}) == 0


def test_with_class_numbers_it_is_the_rise_of_the_cross_entropy_which_moves_with_every_weight(tmp_path: Path) -> None:
    model = models.build("digits-mlp")
    save_model(model, tmp_path / "m.onnx")
    images = np.random.default_rng(0).normal(size=(64, 1, 8, 8)).astype(np.float32)

    def cross_entropy(path: Path) -> float:
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        scores = session.run(None, {"image": images})[0].astype(np.float64)
        chosen = scores[np.arange(64), labels]
        return float((np.log(np.exp(scores).sum(axis=1)) - chosen).mean())

    session = ort.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    labels = session.run(None, {"image": images})[0].argmax(axis=1)
    np.savez(tmp_path / "own.npz", image=images, labels=labels)
    source = open_source(str(tmp_path / "own.npz"), batch_size=16)
    sites = find_sites(model)
    probe = make_probe(model, sites, Objective(), source=source, seed=0, fixed={})
    before = cross_entropy(tmp_path / "m.onnx")
    last = sites[-1]
    own = last.matrices()
    for number, changed in enumerate((-own, own * np.float32(1.001))):
        last.assign(last.restore(changed))
        save_model(model, tmp_path / f"{number}.onnx")
        rise = cross_entropy(tmp_path / f"{number}.onnx") - before
        assert rise != 0
        assert probe({last.name: changed}) == pytest.approx(rise, rel=1e-3)


def test_weights_of_a_branch_are_replaced_there() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (bool b, float[2,4] x) => (float[2,4] y) {
        y = If (b) <
            then_branch = t () => (float[2,4] p) { p = MatMul(x, v) },
            else_branch = e () => (float[2,4] q) { q = MatMul(x, w) }
        >
    }"""
    model = ir.from_onnx_text(text)
    rng = np.random.default_rng(0)
    for name, branch in (("v", "then_branch"), ("w", "else_branch")):
        body = model.graph[0].attributes[branch].as_graph()
        tensor = ir.tensor(rng.normal(size=(4, 4)).astype(np.float32), name=name)
        own = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=tensor.shape)
        body[0].replace_input_with(1, own)
        body.register_initializer(own)
        model.graph.initializers.pop(name, None)
    sites = find_sites(model)
    probe = make_probe(model, sites, Objective(), source=None, seed=0, fixed={"b": np.array(True)})
    doubled = {site.name: 2 * site.matrices() for site in sites}
    assert sorted(doubled) == ["v", "w"]
    assert probe({"v": doubled["v"]}) == pytest.approx(1)
    assert probe({"w": doubled["w"]}) == 0  # the other branch is taken
    assert probe({}) == 0
