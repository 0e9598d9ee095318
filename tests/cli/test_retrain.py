"""Retraining from the command line with the real engine: to the end, killed and resumed, gone wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from dtc import models
from dtc.graph import load_model, save_model

Dtc = Callable[..., tuple[int, str, str]]

SVD = ("--method", "svd", "--rank", "6", "--seconds", "0")
SHORT = ("--retrain", "--steps", "60", "--distort-every", "20", "--evaluate-every", "20", "--threads", "1")
DIGITS = ("--data", "dtc.models.datasets:digits")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    save_model(models.build("digits-mlp"), path)
    return path


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    path = tmp_path / "unlabelled.npz"
    np.savez(path, image=np.random.default_rng(1).random((400, 1, 8, 8), dtype=np.float32))
    return path


def events(run: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def metric(out: str) -> tuple[float, float]:
    found = json.loads(out)["check"]["metric"]
    return found["before"], found["after"]


def test_the_original_teaches_beside_labels_alone(dtc: Dtc, model: Path, unlabelled: Path) -> None:
    asked = ("compress", model, *SVD, *SHORT, "--distill", "0.5")
    status, _, err = dtc(*asked, *DIGITS, "--loss", "distill")
    assert status == 2
    assert "distill is a weight beside a loss of labels" in err
    status, _, err = dtc(*asked, "--data", unlabelled)
    assert status == 2
    assert "--distill is beside a loss of labels, but the data has no array 'labels'" in err


def test_retraining_learns_the_digits(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    status, out, err = dtc("compress", model, *SVD, *SHORT, *DIGITS, "--lr", "3e-3", "-o", output, "--json")
    assert status == 0, err
    before, after = metric(out)
    assert before < 0.2
    assert after > 0.4
    result = json.loads(out)
    assert result["training"]["steps"] == 60
    assert len(result["training"]["distortions"]) == 3
    assert result["fidelity"]["relative_l2"] < 1e-4
    session = ort.InferenceSession(output, providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.zeros((2, 1, 8, 8), np.float32)})[0].shape == (2, 10)


def test_a_small_bias_in_a_constant_node_is_trained_like_any_other(dtc: Dtc, tmp_path: Path) -> None:
    built, path, output = models.build("digits-mlp"), tmp_path / "digits.onnx", tmp_path / "out.onnx"
    reader, bias = next(
        (node, value)
        for node in built.graph
        for value in node.inputs
        if value is not None and value.is_initializer() and value.const_value.size == 10
    )
    constant = ir.node("Constant", [], {"value": bias.const_value}, name="bias")
    constant.outputs[0].name = "constant_bias"
    built.graph.insert_before(reader, constant)
    bias.replace_all_uses_with(constant.outputs[0])
    del built.graph.initializers[bias.name]
    save_model(built, path)
    status, out, err = dtc("compress", path, *SVD, *SHORT, *DIGITS, "--lr", "3e-3", "-o", output, "--json")
    assert status == 0, err
    assert metric(out)[1] > 0.4
    found = load_model(output)
    tensors = [value.const_value for value in found.graph.initializers.values()]
    assert any(tensor.size == 10 and tensor.numpy().any() for tensor in tensors)


def test_a_saved_recipe_with_retraining_gives_the_same_file(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    first, second, recipe = tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "recipe.yaml"
    assert dtc("compress", model, *SVD, *SHORT, *DIGITS, "-o", first, "--save-recipe", recipe)[0] == 0
    status, _, err = dtc("compress", model, "--recipe", recipe, "-o", second, "--seconds", 0)
    assert status == 0, err
    assert first.read_bytes() == second.read_bytes()


def test_without_labels_it_comes_closer_to_the_original(
    dtc: Dtc, model: Path, unlabelled: Path, tmp_path: Path
) -> None:
    common = ("compress", model, *SVD, "--data", unlabelled, "--json")
    status, out, err = dtc(*common, "--no-compensate", "-o", tmp_path / "plain.onnx")
    assert status == 0, err
    plain = json.loads(out)["check"]["differences"][0]["relative_l2"]
    status, out, err = dtc(*common, *SHORT, "--lr", "3e-3", "-o", tmp_path / "retrained.onnx")
    assert status == 0, err
    assert json.loads(out)["check"]["differences"][0]["relative_l2"] < 0.8 * plain


def test_killed_and_resumed_is_the_uninterrupted_file(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    whole, output, run = tmp_path / "whole.onnx", tmp_path / "killed.onnx", tmp_path / "run"
    arguments = ("compress", model, *SVD, *SHORT, *DIGITS, "--steps", "2500", "--checkpoint-every", "25")
    assert dtc(*arguments, "-o", whole)[0] == 0
    words = [str(word) for word in (*arguments, "-o", output, "--run", run)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from dtc.cli import main; main()", *words],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    checkpoints, deadline = run / "checkpoints", time.monotonic() + 60
    while not (checkpoints.is_dir() and any(checkpoints.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    assert not (run / "result.json").exists()
    status, _, err = dtc("compress", "--resume", run)
    assert status == 0, err
    assert output.read_bytes() == whole.read_bytes()


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(
    dtc: Dtc, model: Path, tmp_path: Path
) -> None:
    run, output = tmp_path / "run", tmp_path / "out.onnx"
    wild = ("--optimizer", "sgd", "--lr", "1e4", "--checkpoint-every", "1", "--loss", "mse")
    images = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "d.npz", image=images, labels=np.ones((64, 10), np.float32))
    status, out, err = dtc(
        "compress", model, *SVD, *SHORT, *wild, "--data", tmp_path / "d.npz", "--run", run, "-o", output
    )
    assert status == 1
    assert "Traceback" not in out + err
    assert f"step {len(events(run, 'step')) + 1}: the " in err
    assert "lower the learning rate" in err
    assert not output.exists()
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    again, _, err_again = dtc("compress", "--resume", run)
    assert again == 1
    assert "lower the learning rate" in err_again
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == kept


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pixels": (40, 1, 8, 8)}, "image"),
        ({"image": (40, 1, 9, 8)}, "image"),
        ({"image": (40, 1, 8, 8), "labels": (39,)}, "first dimension"),
    ],
)
@pytest.mark.parametrize("retrain", [(), SHORT])
def test_data_that_does_not_fit_the_model_is_one_line(
    dtc: Dtc, model: Path, tmp_path: Path, arrays: dict[str, tuple[int, ...]], message: str, retrain: tuple[str, ...]
) -> None:
    np.savez(tmp_path / "d.npz", **{name: np.zeros(shape, np.float32) for name, shape in arrays.items()})
    status, out, err = dtc("compress", model, *SVD, *retrain, "--data", tmp_path / "d.npz", "-o", tmp_path / "o.onnx")
    assert status == 2
    assert message in err
    assert "Traceback" not in out + err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "o.onnx").exists()


def test_a_reference_model_is_trained_and_its_run_resumed(dtc: Dtc, tmp_path: Path) -> None:
    whole, output, run = tmp_path / "whole.onnx", tmp_path / "resumed.onnx", tmp_path / "run"
    arguments = ("models", "train", "digits-mlp", "--steps", "2500", "--checkpoint-every", "25", "--threads", "1")
    status, out, err = dtc(*arguments, "-o", whole)
    assert status == 0, err
    assert "accuracy" in out
    words = [str(word) for word in (*arguments, "-o", output, "--run", run)]
    # Where this test runs in the background, SIGINT is ignored, and children inherit that.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    process = subprocess.Popen(
        [sys.executable, "-c", heeding + "from dtc.cli import main; main()", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    checkpoints, deadline = run / "checkpoints", time.monotonic() + 60
    while not (checkpoints.is_dir() and any(checkpoints.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"dtc models train --resume {run}" in said
    status, _, err = dtc("models", "train", "--resume", run, "-o", output)
    assert status == 0, err
    assert output.read_bytes() == whole.read_bytes()
