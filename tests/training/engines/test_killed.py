"""A run with dropout, BatchNormalization or neither, at two threads, ends on the same bits if it is killed."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from engine_process import refused
from fake_engine import make_run_inputs

from dtc.graph import save_model
from dtc.models import build
from dtc.models.net import Net
from dtc.recipe import Recipe
from dtc.training.engine_kind import engine_of
from dtc.training.run import create_run, open_run
from dtc.training.snapshot import Snapshot, finished

TEXT = """
import numpy as np

def batches(split="train"):
    words = np.random.default_rng(3).integers(0, 300, (6, 61 if split == "train" else 13)).cumsum(axis=1) % 300
    for start in range(0, words.shape[1] - 6, 6):
        chunk = words[:, start : start + 7].T
        yield {"ids": np.ascontiguousarray(chunk[:-1]), "labels": np.ascontiguousarray(chunk[1:])}
"""


IMAGES = """
import numpy as np

def batches(split="train", epoch=0):
    rng = np.random.default_rng([epoch, len(split)])
    for _ in range(8 if split == "train" else 2):
        labels = rng.integers(0, 3, 6)
        yield {"x": (rng.normal(size=(6, 2, 5, 5)) + labels[:, None, None, None]).astype("f"), "labels": labels}
"""


def language(folder: Path) -> dict[str, object]:
    (folder / "text.py").write_text(TEXT)
    save_model(build("ptb-small", vocabulary=300, dropout=0.4), folder / "model.onnx")
    return {
        "rules": [{"method": "svd", "options": {"rank": 16}}],
        "objective": {
            "loss": "cross-entropy", "output": "logits", "metric": "perplexity", "carry": {"hn": "h0", "cn": "c0"}
        },
        "data": {"train": "text.py:batches"},
    }  # fmt: skip


def images(folder: Path) -> dict[str, object]:
    """Two convolutions with BatchNormalization, and a method that starts from its last codewords."""
    (folder / "images.py").write_text(IMAGES)
    net = Net("images", 0)
    x = net.input("x", ir.DataType.FLOAT, ["N", 2, 5, 5])
    for number, (inner, outer) in enumerate([(2, 32), (32, 32)]):
        constants = {"scale": np.ones, "shift": np.zeros, "mean": np.zeros, "variance": np.ones}
        parts = [net.constant(f"{name}{number}", make(outer, np.float32)) for name, make in constants.items()]
        x = net.op("BatchNormalization", f"norm{number}", [net.conv(f"conv{number}", x, (inner, outer, 3), 1), *parts])
        x = net.op("Relu", f"relu{number}", [x])
    flat = net.op("Flatten", "flat", [net.op("GlobalAveragePool", "pool", [x])])
    save_model(net.model({"logits": (net.linear("last", flat, (32, 3)), ["N", 3])}), folder / "model.onnx")
    return {
        "rules": [{"method": "codebook", "options": {"codewords": 8, "block": 1}}],
        "data": {"train": "images.py:batches"},
    }


def recurrent(folder: Path) -> dict[str, object]:
    """The network that every engine trains; many steps, as each takes no time."""
    recipe, _ = make_run_inputs(folder)
    return {**recipe.model_dump(exclude={"training"}), "steps": 900}


def new_run(folder: Path, kind: Callable[[Path], dict[str, object]], engine: str) -> Path:
    folder.mkdir(exist_ok=True)
    parts = kind(folder)
    recipe = Recipe.model_validate(
        {
            "seed": 7,
            "training": {
                "engine": engine, "steps": parts.pop("steps", 24), "distort_every": 5, "evaluate_every": 12,
                "checkpoint_every": 4, "threads": 2, "optimizer": {"kind": "adam", "learning_rate": 0.003},
            },
            **parts,
        }
    )  # fmt: skip
    return create_run(folder / "run", recipe, folder / "model.onnx", base=folder).folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = engine_of(open_run(folder).recipe).command()
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen([*command.arguments, str(folder)], env=dict(command.environment), stderr=log)


def run_whole(folder: Path) -> None:
    """Carry a run to its end; skip the test where the engine refuses a node of the model."""
    status = start(folder).wait()
    if (folder / "error.json").exists():
        told = json.loads((folder / "error.json").read_text())
        if refused(f"{told['class']}: {told['message']}"):
            pytest.skip(told["message"])
    assert status == 0, (folder / "worker.log").read_text()


def content(folder: Path) -> dict[str, str]:
    """Everything that must be the same, bit for bit."""
    found = {"metrics": hashlib.sha256((folder / "metrics.jsonl").read_bytes()).hexdigest()}
    for kind in ("checkpoints", "best"):
        for name, array in Snapshot.load(finished(folder / kind)[-1]).arrays.items():
            found[f"{kind}/{name}"] = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return found


@pytest.mark.parametrize("kind", [recurrent, language, images])
def test_killed_at_random_moments_and_resumed_is_the_same_run(engine, tmp_path, kind):
    whole, broken = (new_run(tmp_path / name, kind, engine.kind.name) for name in ("whole", "broken"))
    run_whole(whole)
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
    assert ("best/parameter/mean1" in content(whole)) is (kind is images)
