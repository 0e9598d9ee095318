"""What `ort` cannot train, as a user retrains it: by the command line, here in two processes, as torchrun asks for."""

from __future__ import annotations

import json

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from needed import unless

from dtc.graph import save_model
from dtc.models.net import Net
from dtc.training.engine_kind import engines

pytestmark = unless(engines()["torch"].unavailable())


def switched() -> ir.Model:
    """Two branches that own a weight of one name each, pools by maximum behind them, and a layer: x is `[N, 16]`."""
    rng, net = np.random.default_rng(0), Net("switched", 0)
    x, rate = net.input("x", ir.DataType.FLOAT, ["N", 16]), net.input("sr", ir.DataType.INT64, [])
    same = net.op("Equal", "same", [rate, net.constant("16000", np.array(16000))])
    bodies = {}
    for name in ("then_branch", "else_branch"):
        weight = ir.Value(name="V", const_value=ir.tensor(rng.normal(0, 0.3, (16, 24)).astype(np.float32), name="V"))
        node = ir.node("MatMul", [x, weight], outputs=[ir.Value(name=f"{name}.y")], name=name)
        bodies[name] = ir.Graph([], node.outputs, nodes=[node], initializers=[weight], name=name)
    chosen = net.op("If", "if", [same], **bodies)
    steps = net.op("Reshape", "steps", [chosen, net.constant("shape", np.array([-1, 6, 4], np.int64))])
    pooled = net.op("Flatten", "flat", [net.op("GlobalMaxPool", "pool", [steps])])
    largest = net.op("ReduceMax", "largest", [steps], axes=[1], keepdims=0)
    joined = net.op("Concat", "joined", [pooled, largest], axis=1)
    return net.model({"logits": (net.op("MatMul", "out", [joined, net.uniform("W", (10, 3), 0.3)]), ["N", 3])})


@pytest.fixture
def torchrun(monkeypatch):
    """Return what sets the variables of one of two copies that torchrun starts."""

    def start(rank: int, *, here: int = 2) -> None:
        told = {"TORCHELASTIC_RUN_ID": "none", "RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": here}
        for name, value in told.items():
            monkeypatch.setenv(name, str(value))

    return start


def test_weights_inside_of_an_if_are_retrained_and_written_and_one_process_writes(dtc, tmp_path, torchrun):
    save_model(switched(), tmp_path / "m.onnx")
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(40, 16)).astype(np.float32), "labels": rng.integers(0, 3, 40), "sr": np.array(16000)}
    np.savez(tmp_path / "d.npz", **data)
    told = ["compress", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "o.onnx"), "--run", str(tmp_path / "run")]
    told += ["--method", "uniform", "--bits", "8", "--allow-growth", "--retrain", "--data", str(tmp_path / "d.npz")]
    told += ["--batch-size", "9", "--steps", "4", "--distort-every", "2", "--lr", "0.1", "--seconds", "0"]
    # Of two copies one trains, in two processes; the other does nothing.
    torchrun(1)
    assert dtc(*told) == (0, "", "")
    torchrun(0)
    status, _, err = dtc(*told)
    assert status == 0, err
    # 1. Every weight was trained, each step told once, and one checkpoint written.
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert (events[0]["parameters"], events[0]["frozen"]) == (2 * 16 * 24 + 10 * 3, {})
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2, 3, 4]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["000000004"]
    assert ", 2 processes" in (tmp_path / "run" / "report.json").read_text()
    # 2. The file computes with what was trained, which is far from what 8 bits do.
    fed = {"x": data["x"], "sr": data["sr"]}
    before, after = (onnxruntime.InferenceSession(tmp_path / f"{n}.onnx").run(None, fed)[0] for n in "mo")
    assert np.abs(before - after).max() > 0.2


def test_copies_on_several_machines_are_refused_in_one_line(dtc, torchrun):
    torchrun(0, here=1)
    status, out, err = dtc("compress", "m.onnx", "--method", "uniform", "--bits", "8", "--retrain", "--data", "d.npz")
    assert (status, out) == (2, "")
    assert err == "dtc: error: torchrun: 1 of 2 processes are on this machine; dtc trains on one: --nnodes 1\n"
