"""A run of the real engine, with dropout and two threads, that is killed and resumed ends on the same bits."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from dtc.graph import save_model
from dtc.models import build
from dtc.recipe import Recipe
from dtc.training.checkpoint import finished, load_snapshot
from dtc.training.launch import worker_command
from dtc.training.ort.install import available
from dtc.training.run import create_run, open_run

TEXT = """
import numpy as np

def batches(split="train"):
    words = np.random.default_rng(3).integers(0, 300, (6, 61 if split == "train" else 13)).cumsum(axis=1) % 300
    for start in range(0, words.shape[1] - 6, 6):
        chunk = words[:, start : start + 7].T
        yield {"ids": np.ascontiguousarray(chunk[:-1]), "labels": np.ascontiguousarray(chunk[1:])}
"""


def new_run(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "text.py").write_text(TEXT)
    save_model(build("ptb-small", vocabulary=300, dropout=0.4), folder / "model.onnx")
    recipe = Recipe.model_validate(
        {
            "rules": [{"method": "svd", "options": {"rank": 16}}],
            "objective": {
                "loss": "cross-entropy", "output": "logits", "metric": "perplexity", "carry": {"hn": "h0", "cn": "c0"}
            },
            "data": {"train": "text.py:batches"},
            "training": {
                "steps": 24, "distort_every": 5, "evaluate_every": 12, "checkpoint_every": 4, "threads": 2,
                "optimizer": {"kind": "adam", "learning_rate": 0.003},
            },
            "seed": 7,
        }
    )  # fmt: skip
    return create_run(folder / "run", recipe, folder / "model.onnx", base=folder).folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = worker_command(open_run(folder))
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen([*command.arguments, str(folder)], env=dict(command.environment), stderr=log)


def content(folder: Path) -> dict[str, str]:
    """Everything that must be the same, bit for bit."""
    found = {"metrics": hashlib.sha256((folder / "metrics.jsonl").read_bytes()).hexdigest()}
    for kind in ("checkpoints", "best"):
        for name, array in load_snapshot(finished(folder / kind)[-1]).arrays.items():
            found[f"{kind}/{name}"] = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return found


def test_killed_at_random_moments_and_resumed_is_the_same_run(tmp_path):
    if reason := available():
        pytest.skip(reason)
    whole, broken = new_run(tmp_path / "whole"), new_run(tmp_path / "broken")
    assert start(whole).wait() == 0, (whole / "worker.log").read_text()
    size = (whole / "metrics.jsonl").stat().st_size
    dice, metrics, kills = random.Random(1), broken / "metrics.jsonl", 0
    for share in (0.3, 0.7):
        process = start(broken)
        target = size * (share + 0.2 * dice.random())
        while process.poll() is None and (not metrics.exists() or metrics.stat().st_size < target):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 2
    assert start(broken).wait() == 0, (broken / "worker.log").read_text()
    assert content(broken) == content(whole)
