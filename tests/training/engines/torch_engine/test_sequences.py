"""Loss ctc, as a user retrains, checks and bins a model of sequences by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from needed import unless

from dtc.ctc import log_likelihood
from dtc.graph import save_model
from dtc.models.net import Net
from dtc.training.engine_kind import engines

NEEDS_TORCH = unless(engines()["torch"].unavailable())
DATA = ("--data", "d.npz", "--metric", "label-error")


def spelling() -> ir.Model:
    """Three labels, spelt by a layer over each step: x is `[N, 8, 6]`, the log probabilities `[8, N, 4]`."""
    net = Net("spelling", 0)
    x = net.input("x", ir.DataType.FLOAT, ["N", 8, 6])
    hidden = net.op("Tanh", "tanh", [net.op("MatMul", "first", [x, net.uniform("A", (6, 40), 1)])])
    scores = net.op(
        "Transpose", "turned", [net.op("MatMul", "second", [hidden, net.uniform("B", (40, 4), 1)])], perm=[1, 0, 2]
    )
    return net.model({"y": (net.op("LogSoftmax", "logs", [scores], axis=-1), [8, "N", 4])})


@pytest.fixture
def samples(tmp_path, monkeypatch):
    """A folder with a model, and forty sequences of up to three labels."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 4, (40, 3))
    labels[rng.random(40) < 0.5, 2] = -1
    found = {"x": rng.normal(size=(40, 8, 6)).astype(np.float32), "labels": labels}
    np.savez("d.npz", **found)
    save_model(spelling(), Path("m.onnx"))
    return found


@NEEDS_TORCH
def test_the_loss_is_the_likelihood_a_label_and_falls(dtc, samples):
    told = ("--method", "uniform", "--bits", "8", "--allow-growth", "--seconds", "0", *DATA, "--eval-data", "d.npz")
    told += (
        "--retrain",
        "--steps",
        "30",
        "--distort-every",
        "15",
        "--lr",
        "0.02",
        "--batch-size",
        "40",
        "--run",
        "run",
    )
    status, _, err = dtc("compress", "m.onnx", "-o", "o.onnx", *told)
    assert status == 0, err
    events = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "step"]
    (scores,) = onnxruntime.InferenceSession("m.onnx").run(None, {"x": samples["x"]})
    expected = -log_likelihood(scores, samples["labels"]).sum() / (samples["labels"] > 0).sum()
    assert losses[0] == pytest.approx(expected, rel=1e-5)
    assert losses[-1] < losses[0] / 2
    assert {event["metric"] for event in events if event["event"] == "evaluation"} == {"label-error"}


@NEEDS_TORCH
def test_labels_that_the_steps_cannot_spell_are_refused(dtc, samples):
    np.savez("d.npz", x=samples["x"], labels=np.ones((40, 5), np.int64))
    told = ("--method", "uniform", "--bits", "8", "--allow-growth", *DATA, "--retrain", "--steps", "1")
    status, _, err = dtc("compress", "m.onnx", "-o", "o.onnx", *told)
    assert status == 2
    assert "the labels of a sequence need 9 steps, and the output has 8" in err


def test_sequences_are_checked_by_their_error_rate(dtc, samples):
    status, out, err = dtc(
        "check", "m.onnx", "m.onnx", "--data", "d.npz", "--metric", "label-error", "--max-drop", "0.01"
    )
    assert status == 0, err
    assert "label-error" in out


def test_bins_are_split_by_the_likelihood_of_sequences(dtc, samples):
    told = ("--method", "bins", "--bins", "6", "--allow-growth", *DATA, "--report", "r.json")
    status, out, err = dtc("compress", "m.onnx", "-o", "o.onnx", *told)
    assert status == 0, err
    assert "label-error" in out
