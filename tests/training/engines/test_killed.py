"""A run at two threads ends on the same bits if it is killed."""

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
from engine_process import refused
from fake_engine import make_run_inputs

from dtc.graph import save_model
from dtc.models.net import Net
from dtc.recipe import Recipe
from dtc.training.engine_kind import engine_of
from dtc.training.run import create_run, open_run
from dtc.training.snapshot import Snapshot, finished

SAMPLES = """
import numpy as np

def batches(split="train", epoch=0):
    rng = np.random.default_rng([epoch, len(split)])
    for _ in range(8 if split == "train" else 2):
        labels = rng.integers(0, 3, 6)
        yield {"x": (rng.normal(size=(6, 2, 5, 5)) + labels[:, None, None, None]).astype("f"), "labels": labels}
"""


def layers(folder: Path) -> dict[str, object]:
    """What differs from step to step: BatchNormalization, Dropout, a carried state, codewords that follow the last.

    Two convolutions, whose columns are the steps of an LSTM.
    """
    (folder / "samples.py").write_text(SAMPLES)
    net = Net("layers", 0)
    x = net.input("x", ir.DataType.FLOAT, ["N", 2, 5, 5])
    state = [net.input(name, ir.DataType.FLOAT, [1, "N", 24]) for name in ("h0", "c0")]
    for number, (inner, outer) in enumerate([(2, 32), (32, 32)]):
        constants = {"scale": np.ones, "shift": np.zeros, "mean": np.zeros, "variance": np.ones}
        parts = [net.constant(f"{name}{number}", make(outer, np.float32)) for name, make in constants.items()]
        x = net.op("BatchNormalization", f"norm{number}", [net.conv(f"conv{number}", x, (inner, outer, 3), 1), *parts])
        x = net.op("Relu", f"relu{number}", [x])
    rows = net.op("ReduceMean", "rows", [x], axes=[2], keepdims=0)
    steps = net.dropout("drop", net.op("Transpose", "steps", [rows], perm=[2, 0, 1]), 0.4)
    weights = [net.uniform("W", (1, 96, 32), 0.3), net.uniform("R", (1, 96, 24), 0.3), net.uniform("B", (1, 192), 0.1)]
    _, last, cell = net.ops("LSTM", "lstm", [steps, *weights, None, *state], ["", "last", "cell"], hidden_size=24)
    flat = net.op("Squeeze", "flat", [last, net.constant("axis", np.array([0]))])
    outputs = {"logits": (net.linear("out", flat, (24, 3)), ["N", 3])}
    outputs |= {"hn": (last, [1, "N", 24]), "cn": (cell, [1, "N", 24])}
    save_model(net.model(outputs), folder / "model.onnx")
    return {
        "rules": [
            {"method": "codebook", "options": {"codewords": 8, "block": 1}, "include": ["conv*"]},
            {"method": "svd", "options": {"rank": 4}},
        ],
        "objective": {"output": "logits", "carry": {"hn": "h0", "cn": "c0"}},
        "data": {"train": "samples.py:batches"},
    }


def recurrent(folder: Path) -> dict[str, object]:
    """The network that every engine trains, for those that refuse the layers; many steps, as each takes no time."""
    recipe, _ = make_run_inputs(folder)
    return {**recipe.model_dump(exclude={"training"}), "steps": 900}


def new_run(folder: Path, kind: Callable[[Path], dict[str, object]], engine: str) -> Path:
    folder.mkdir(parents=True)
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


def whole_run(folder: Path, engine: str) -> tuple[Path, Callable[[Path], dict[str, object]]]:
    """Carry a run to its end: of the layers, or of the network where the engine refuses a node of them."""
    for kind in (layers, recurrent):
        run = new_run(folder / kind.__name__, kind, engine)
        status = start(run).wait()
        told = json.loads((run / "error.json").read_text()) if (run / "error.json").exists() else {}
        if not (told and refused(f"{told['class']}: {told['message']}")):
            break
    assert status == 0, (run / "worker.log").read_text()
    return run, kind


def content(folder: Path) -> dict[str, str]:
    """Everything that must be the same, bit for bit."""
    found = {"metrics": hashlib.sha256((folder / "metrics.jsonl").read_bytes()).hexdigest()}
    for kind in ("checkpoints", "best"):
        for name, array in Snapshot.load(finished(folder / kind)[-1]).arrays.items():
            found[f"{kind}/{name}"] = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return found


def test_killed_at_random_moments_and_resumed_is_the_same_run(engine, tmp_path):
    whole, kind = whole_run(tmp_path / "whole", engine.kind.name)
    broken = new_run(tmp_path / "broken", kind, engine.kind.name)
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
    assert ("best/parameter/mean1" in content(whole)) is (kind is layers)
    assert kind is layers or engine.kind.name == "fake"
