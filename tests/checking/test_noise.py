"""Models that draw random numbers are compared with the same ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from check_graphs import RANDOM, random, weight, written

from dtc.checking import CheckOptions, check
from dtc.checking.noise import is_random
from dtc.graph import load_model

W = weight(64, 48)
QUICK = CheckOptions(seconds=0, max_difference=1e-6)
TOLD = ("the model draws random numbers: both models were compared with the same ones",)


@pytest.mark.parametrize("body", RANDOM.values(), ids=RANDOM)
def test_a_random_model_equals_itself(tmp_path: Path, body: str) -> None:
    path = written(tmp_path, random(body), W=W)
    assert is_random(load_model(path))
    report = check(path, path, options=QUICK)
    assert report.verdict == "passed"
    assert report.differences[0].max_abs == 0
    assert report.caveats == TOLD


def test_other_weights_are_seen(tmp_path: Path) -> None:
    body = RANDOM["normal like"]
    other = written(tmp_path, random(body), "other.onnx", W=W * np.float32(1.01))
    report = check(written(tmp_path, random(body), W=W), other, options=QUICK)
    assert report.verdict == "failed"
    assert report.differences[0].relative_l2 == pytest.approx(0.01, rel=0.1)


def test_a_dropout_in_training_mode_drops_nothing(tmp_path: Path) -> None:
    body = "d = Dropout (x, ratio, train) y = MatMul (d, W)"
    held = {"W": W, "ratio": np.array(0.5, np.float32), "train": np.array(True)}
    path = written(tmp_path, random(body), **held)
    without = written(tmp_path, random("y = MatMul (x, W)"), "other.onnx", W=W)
    report = check(path, without, options=QUICK)
    assert report.verdict == "passed"
    assert report.caveats == TOLD
