"""BatchNormalization through a whole compression: the file's statistics are those of its own weights, by NumPy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from dtc.graph import save_model
from dtc.models.net import Net
from dtc.passes.prepare.batch_moments import corrected

EPSILON = 1e-5
CLASSES, FEATURES, WIDTH = 3, 20, 12


def network(path: Path) -> None:
    """x W, normalised, ReLU, V; the statistics of the file are those of no data at all."""
    net = Net("normalized", 1)
    x = net.input("x", ir.DataType.FLOAT, ["N", FEATURES])
    first = net.op("MatMul", "first", [x, net.uniform("W", (FEATURES, WIDTH), 1)])
    inputs = [first, net.constant("scale", np.ones(WIDTH, "f")), net.constant("shift", np.zeros(WIDTH, "f"))]
    inputs += [net.constant("mean", np.zeros(WIDTH, "f")), net.constant("variance", np.ones(WIDTH, "f"))]
    hidden = net.op("Relu", "relu", [net.op("BatchNormalization", "norm", inputs)])
    out = net.op("MatMul", "last", [hidden, net.uniform("V", (WIDTH, CLASSES), 1)])
    save_model(net.model({"logits": (out, ["N", CLASSES])}), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network(tmp_path / "m.onnx")
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(640, FEATURES)) * 2 + 3).astype("f")
    labels = ((x - 3) @ rng.normal(size=(FEATURES, CLASSES))).argmax(1)
    order = np.argsort(labels)  # the first batches in order would be of one class
    np.savez(tmp_path / "d.npz", x=x[order], labels=labels[order])
    np.savez(tmp_path / "e.npz", x=x[:200], labels=labels[:200])
    return tmp_path


def initializers(path: Path) -> dict[str, np.ndarray]:
    return {name: value.const_value.numpy() for name, value in ir.load(path).graph.initializers.items()}


def entering(path: Path, x: np.ndarray) -> np.ndarray:
    """Return what enters the BatchNormalization of a file, from running it."""
    model = ir.load(path)
    node = next(node for node in model.graph if node.op_type == "BatchNormalization")
    model.graph.outputs.append(node.inputs[0])
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[1].astype("d")


def is_near(found: np.ndarray, values: np.ndarray) -> bool:
    """Statistics of 512 of the 640 samples: to a few deviations of their error."""
    mean, variance = values.mean(0), values.var(0)
    wrong_mean = np.abs(found["mean"] - mean) / np.sqrt(variance)
    return bool(wrong_mean.max() < 0.08 and np.abs(found["variance"] / variance - 1).max() < 0.15)


MEASURED = "statistics of 1 BatchNormalizations measured anew"
FOLDED = ("--method", "svd", "--rank", "4", "--include", "W", "--seconds", "0")
ONE_SHOT = (*FOLDED, "--no-fold-batch-norm")
ANEW = ("--batch-norm", "batch")
RETRAIN = ("--retrain", "--steps", "80", "--distort-every", "20", "--threads", "1", "--lr", "0.03")


@pytest.mark.parametrize("options", [ANEW, RETRAIN], ids=["one-shot", "retrained"])
def test_the_written_statistics_are_those_of_the_written_weights(dtc, folder, options):
    status, out, err = dtc("compress", folder / "m.onnx", *ONE_SHOT, *options, "--data", folder / "d.npz",
                           "--eval-data", folder / "e.npz", "-o", folder / "out.onnx", "--json")  # fmt: skip
    assert status == 0, err
    values = entering(folder / "out.onnx", np.load(folder / "d.npz")["x"])
    found = initializers(folder / "out.onnx")
    assert is_near(found, values)
    assert not is_near(initializers(folder / "m.onnx"), values)
    outcome = json.loads(out)
    assert [MEASURED in note for note in outcome["notes"]] == ([] if options is RETRAIN else [True])
    if options is RETRAIN:
        assert outcome["check"]["metric"]["after"] > 0.8
        assert not np.array_equal(found["scale"], np.ones(WIDTH))


@pytest.mark.parametrize("options", [(), RETRAIN], ids=["one-shot", "retrained"])
def test_frozen_statistics_are_written_as_they_were(dtc, folder, options):
    status, out, err = dtc("compress", folder / "m.onnx", *ONE_SHOT, *options, "--data", folder / "d.npz",
                           "--batch-norm", "frozen", "-o", folder / "out.onnx", "--json")  # fmt: skip
    assert status == 0, err
    found = initializers(folder / "out.onnx")
    assert np.array_equal(found["mean"], np.zeros(WIDTH))
    assert np.array_equal(found["variance"], np.ones(WIDTH))
    assert json.loads(out)["notes"] == []


@pytest.mark.parametrize("options", [("--eval-data", "e.npz"), ()], ids=["evaluation data", "no data"])
def test_without_samples_to_learn_from_nothing_is_measured(dtc, folder, options):
    given = [folder / word if word.endswith("npz") else word for word in options]
    status, _, err = dtc("compress", folder / "m.onnx", *ONE_SHOT, *given, "-o", folder / "out.onnx", "--json")
    assert status == 0, err
    assert np.array_equal(initializers(folder / "out.onnx")["mean"], np.zeros(WIDTH))


def test_a_few_samples_are_too_few(dtc, folder):
    samples = np.load(folder / "d.npz")
    np.savez(folder / "few.npz", x=samples["x"][:200], labels=samples["labels"][:200])
    status, out, err = dtc("compress", folder / "m.onnx", *ONE_SHOT, "--data", folder / "few.npz",
                           "-o", folder / "out.onnx", "--json")  # fmt: skip
    assert status == 0, err
    assert json.loads(out)["notes"] == []
    assert np.array_equal(initializers(folder / "out.onnx")["mean"], np.zeros(WIDTH))


def test_what_was_measured_is_said(dtc, folder):
    status, out, _ = dtc("compress", folder / "m.onnx", *ONE_SHOT, *ANEW, "--data", folder / "d.npz",
                         "-o", folder / "out.onnx")  # fmt: skip
    assert status == 0
    assert MEASURED in out


def test_the_choice_is_part_of_a_recipe(dtc, folder):
    arguments = ("compress", folder / "m.onnx", *ONE_SHOT, "--data", folder / "d.npz", "-o", folder / "out.onnx")
    assert dtc(*arguments, "--batch-norm", "frozen", "--save-recipe", folder / "r.yaml")[0] == 0
    assert "batch_norm: frozen" in (folder / "r.yaml").read_text()
    status, out, err = dtc("compress", folder / "m.onnx", "--recipe", folder / "r.yaml", "--seconds", "0",
                           "-o", folder / "out.onnx", "--force", "--json")  # fmt: skip
    assert status == 0, err
    assert json.loads(out)["notes"] == []


@pytest.mark.parametrize("method", [("uniform", "--bits", "8"), ("svd", "--rank", "4")], ids=["good", "bad"])
def test_by_itself_it_takes_what_keeps_the_outputs(dtc, folder, method):
    """The statistics of the file are those of no data: with samples measured anew even a lossless code loses."""
    x, wanted = np.load(folder / "e.npz")["x"], None
    errors = {}
    for mode in ("auto", "batch", "frozen"):
        path = folder / f"{mode}.onnx"
        status, out, err = dtc("compress", folder / "m.onnx", "--method", *method, "--include", "W", "--seconds", "0",
                               "--data", folder / "d.npz", "--batch-norm", mode, "--no-fold-batch-norm", "-o", path,
                               "--allow-growth", "--json")  # fmt: skip
        assert status == 0, err
        found, wanted = (
            ort.InferenceSession(each, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
            for each in (path, folder / "m.onnx")
        )
        errors[mode] = np.square(found - wanted).sum() / np.square(wanted).sum()
        if mode == "auto":
            (note,) = json.loads(out)["notes"]
            assert "which is nearest to the original's outputs on the samples" in note
    assert errors["auto"] <= 1.02 * min(errors.values())
    assert errors["batch"] > 10 * errors["auto"] or method[0] == "svd"


def test_a_correction_gives_back_the_moments_of_the_original():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 5)) * rng.uniform(1, 4, 5) + rng.normal(size=5)
    y = x @ (np.eye(5) + 0.3 * rng.normal(size=(5, 5))) + 2
    given = {"mean": rng.normal(size=5).astype("f"), "variance": rng.uniform(0.5, 2, 5).astype("f")}
    observed, found = ({"mean": each.mean(0), "variance": each.var(0)} for each in (x, y))
    new = corrected(given, observed, found)
    before = (x - given["mean"]) / np.sqrt(given["variance"])
    after = (y - new["mean"]) / np.sqrt(new["variance"])
    np.testing.assert_allclose(after.mean(0), before.mean(0), atol=1e-2)
    np.testing.assert_allclose(after.var(0), before.var(0), rtol=1e-2)
    same = corrected(given, observed, observed)
    np.testing.assert_allclose(same["mean"], given["mean"], atol=1e-6)
    np.testing.assert_allclose(same["variance"], given["variance"], rtol=1e-6)


@pytest.mark.parametrize("options", [ANEW, RETRAIN], ids=["one-shot", "retrained"])
def test_what_was_measured_or_trained_is_folded_at_last(dtc, folder, options):
    status, out, err = dtc("compress", folder / "m.onnx", *FOLDED, *options, "--data", folder / "d.npz",
                           "--eval-data", folder / "e.npz", "-o", folder / "out.onnx", "--json")  # fmt: skip
    assert status == 0, err
    assert "BatchNormalization" not in {node.op_type for node in ir.load(folder / "out.onnx").graph}
    outcome = json.loads(out)
    # The file is held to the model that was given, with the statistics that were measured or trained put in.
    assert outcome["fidelity"]["relative_l2"] < 1e-5
    assert any("folded 1 BatchNormalization" in note for note in outcome["notes"])
    assert any(MEASURED in note for note in outcome["notes"]) == (options is not RETRAIN)
    if options is RETRAIN:
        assert outcome["check"]["metric"]["after"] > 0.8


def test_a_model_of_which_nothing_was_changed_is_written_as_it_is(dtc, folder):
    """Statistics that were looked at and kept are no change, so a file that would grow by names is the model's own."""
    status, out, err = dtc("compress", folder / "m.onnx", "--method", "uniform", "--bits", "8", "--include", "W",
                           "--exclude", "W", "--data", folder / "d.npz", "--seconds", "0",
                           "-o", folder / "out.onnx", "--json")  # fmt: skip
    assert status == 0, err
    assert "as they were" in json.loads(out)["notes"][0]
    assert (folder / "out.onnx").stat().st_size <= (folder / "m.onnx").stat().st_size
