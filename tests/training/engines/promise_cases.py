"""Run in the engine's process: what an engine promises beyond gradients; prints JSON, a case each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from engine_under_test import make_engine, tell

from dtc.models import build
from dtc.models.net import Net
from dtc.recipe import Objective, Optimizer
from dtc.training.optimizer import make_optimizer

FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32
MSE = Objective(loss="mse")


def straight(ratio: float = 0.0, weight: float = 1.0) -> ir.Model:
    """y = dropout(x) w, so that the gradient of w is what the mask let through."""
    net = Net("straight", 0)
    x = net.dropout("drop", net.input("x", FLOAT, ["N", 4000]), ratio)
    out = net.op("MatMul", "out", [x, net.constant("w", np.full((4000, 1), weight, np.float32))])
    return net.model({"y": (out, ["N", 1])})


def dropout() -> object:
    """With y = labels - 1/2 apart, the gradient of w is -x mask, so the gradient shows the mask."""
    engine = make_engine(straight(0.3, weight=0.0), MSE, threads=1)
    batch = {"x": np.ones((1, 4000), np.float32), "labels": np.full((1, 1), 0.5, np.float32)}
    masks = [-engine.step(batch, seed=seed).gradients["w"].copy() for seed in (1, 1, 2)]
    engine.parameters["w"][...] = 1
    return {
        "values": np.unique(masks[0]).tolist(),
        "dropped": float((masks[0] == 0).mean()),
        "same": np.array_equal(masks[0], masks[1]),
        "agreement": float((masks[0] == masks[2]).mean()),
        "predicted": float(engine.predict(batch)["y"][0, 0]),
        "evaluated": engine.loss(batch)[0],
    }


def recurrent(*, batch_first: bool) -> ir.Model:
    net = Net("tagger", 3)
    x = net.input("x", FLOAT, ["N", "T", 2] if batch_first else ["T", "N", 2])
    lengths = net.input("lengths", INT32, ["N"])
    data = net.op("Transpose", "turned", [x], perm=[1, 0, 2]) if batch_first else x
    weights = [net.uniform("W", (1, 12, 2), 1), net.uniform("R", (1, 12, 3), 1), net.uniform("B", (1, 24), 1)]
    y, _ = net.ops("LSTM", "lstm", [data, *weights, lengths], ["y", "h"], hidden_size=3)
    flat = net.op("Squeeze", "flat", [y, net.constant("axis", np.array([1], np.int64))])
    out = net.op("Transpose", "back", [flat], perm=[1, 0, 2]) if batch_first else flat
    return net.model({"logits": (net.op("Identity", "named", [out]), ["N", "T", 3] if batch_first else ["T", "N", 3])})


def masked(*, batch_first: bool, steps: int, samples: int) -> object:
    """Loss and steps beyond the lengths, by NumPy from the predictions; then with other labels beyond the lengths."""
    rng = np.random.default_rng(0)
    engine = make_engine(
        recurrent(batch_first=batch_first), Objective(loss="cross-entropy", lengths="lengths"), threads=1
    )
    shape = (samples, steps) if batch_first else (steps, samples)
    lengths = rng.integers(1, steps + 1, samples).astype(np.int32)
    lengths[0] = 1
    batch = {"x": rng.normal(size=(*shape, 2)).astype("f"), "lengths": lengths, "labels": rng.integers(0, 3, shape)}
    count = np.arange(steps)
    inside = count[None] < lengths[:, None] if batch_first else count[:, None] < lengths[None]
    logits = engine.predict(batch)["logits"].astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    picked = np.take_along_axis(log_p, batch["labels"][..., None], -1)[..., 0]
    other = batch | {"labels": np.where(inside, batch["labels"], 2 - batch["labels"])}
    stepped = [engine.step(b, seed=0).loss for b in (batch, other)]
    return {"expected": float(-picked[inside].mean()), "evaluated": engine.loss(batch)[0], "stepped": stepped}


def small_language_model(dropped: float = 0.3) -> tuple[ir.Model, dict[str, np.ndarray]]:
    ids = np.random.default_rng(0).integers(0, 60, (5, 4))
    state = np.zeros((2, 4, 200), np.float32)
    batch = {"ids": ids, "labels": np.roll(ids, -1, 0), "h0": state, "c0": state}
    return build("ptb-small", vocabulary=60, dropout=dropped), batch


def carry() -> object:
    """Two chunks with carried state have the loss and the last state of one of twice the length."""
    model, batch = small_language_model(dropped=0.0)
    objective = Objective(loss="cross-entropy", output="logits", carry={"hn": "h0", "cn": "c0"})
    engine = make_engine(model, objective, threads=1)
    first = engine.step(batch, seed=0)
    second = batch | {"h0": first.outputs["hn"].copy(), "c0": first.outputs["cn"].copy()}
    after = engine.step(second, seed=0)
    both = batch | {name: np.concatenate([batch[name], batch[name]]) for name in ("ids", "labels")}
    loss, outputs = engine.loss(both)
    return {
        "halves": (first.loss + after.loss) / 2,
        "whole": loss,
        "state": float(np.abs(outputs["hn"] - after.outputs["hn"]).max()),
        "moved": float(np.abs(after.outputs["hn"] - first.outputs["hn"]).max()),
    }


def freeze() -> object:
    engine = make_engine(build("lenet-5"), Objective(loss="cross-entropy"), freeze=("conv*", "fc1.bias"), threads=1)
    return {"parameters": sorted(engine.parameters), "frozen": engine.frozen}


def half() -> ir.Model:
    net = Net("half", 0)
    x = net.input("x", ir.DataType.FLOAT16, ["N", 4])
    out = net.op("MatMul", "out", [x, net.constant("w", np.ones((4, 2), np.float16))])
    return net.model({"y": (net.op("Cast", "cast", [out], to=1), ["N", 2])})


def teacher() -> object:
    """Distillation from a teacher whose output is 2 sum(x), and from the model itself after it was changed."""
    batch = {"x": np.ones((1, 4000), np.float32)}
    taught = make_engine(straight(weight=1.0), Objective(loss="distill"), teacher=straight(weight=2.0), threads=1)
    own = make_engine(straight(weight=1.0), Objective(loss="distill"), threads=1)
    before = own.loss(batch)[0]
    own.parameters["w"][...] = 1.5
    return {"taught": taught.loss(batch)[0], "before": before, "after": own.loss(batch)[0]}


def beside_labels(loss: str) -> object:
    """A step by labels alone, one by the teacher alone, and one by both: losses, and how far gradients add up."""
    model, taught = build("digits-mlp", hidden=5, seed=0), build("digits-mlp", hidden=5, seed=1)
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 10, 6) if loss == "cross-entropy" else rng.random((6, 10), dtype=np.float32)
    batch = {"image": rng.random((6, 1, 8, 8), dtype=np.float32), "labels": labels}
    asked = [(loss, 0.0), ("distill", 0.0), (loss, 0.25)]
    engines = [make_engine(model, Objective(loss=kind), teacher=taught, distill=w) for kind, w in asked]
    steps = [engine.step(batch, seed=0) for engine in engines]
    alone, distilled, both = (step.gradients for step in steps)
    apart = [float(np.abs(alone[n] + 0.25 * distilled[n] - both[n]).max() / np.abs(both[n]).max()) for n in both]
    return {"losses": [step.loss for step in steps], "apart": max(apart), "evaluated": engines[2].loss(batch)[0]}


def digest(model: ir.Model, batch: dict[str, np.ndarray]) -> list[str]:
    """Losses, gradients and parameters of some steps at two threads."""
    engine = make_engine(model, Objective(loss="cross-entropy"), threads=2)
    optimizer, seen = make_optimizer(Optimizer(), engine.parameters), []
    for step in range(1, 9):
        result = engine.step(batch, seed=step)
        sums = [hashlib.sha256(array.tobytes()).hexdigest() for array in result.gradients.values()]
        optimizer.step(engine.parameters, result.gradients, rate=1e-3, t=step)
        sums += [hashlib.sha256(array.tobytes()).hexdigest() for array in engine.parameters.values()]
        seen.append(f"{result.loss.hex()} {hashlib.sha256(''.join(sums).encode()).hexdigest()}")
    return seen


def lookup() -> tuple[ir.Model, dict[str, np.ndarray]]:
    """Rows that are read often, by several threads: each sums up a part of a row's gradient."""
    net, rng = Net("lookup", 0), np.random.default_rng(0)
    x, ids = net.input("x", FLOAT, [40, 8]), net.input("ids", ir.DataType.INT64, ["N", 1])
    rows = net.op("GatherND", "rows", [net.op("MatMul", "all", [x, net.uniform("V", (8, 64), 1)]), ids])
    model = net.model({"y": (net.op("MatMul", "out", [rows, net.uniform("W", (64, 3), 1)]), ["N", 3])})
    size = 20_000
    fed = {"x": rng.random((40, 8), dtype=np.float32), "ids": rng.integers(0, 40, (size, 1))}
    return model, fed | {"labels": rng.integers(0, 3, size)}


def deterministic() -> object:
    rng = np.random.default_rng(0)
    images = {"image": rng.random((16, 1, 28, 28), dtype=np.float32), "labels": rng.integers(0, 10, 16)}
    lenet = build("lenet-5", dropout=0.5)
    return {
        "language": [digest(*small_language_model()) for _ in range(2)],
        "lenet": [digest(lenet, images) for _ in range(2)],
        "lookup": [digest(*lookup()) for _ in range(2)],
    }


CASES: dict[str, Callable[[], object]] = {
    "dropout": dropout,
    "steps first": lambda: masked(batch_first=False, steps=5, samples=3),
    "steps first, square": lambda: masked(batch_first=False, steps=4, samples=4),
    "samples first": lambda: masked(batch_first=True, steps=5, samples=3),
    "samples first, square": lambda: masked(batch_first=True, steps=4, samples=4),
    "carry": carry,
    "freeze": freeze,
    "float16": lambda: sorted(make_engine(half(), MSE).parameters),
    "teacher": teacher,
    "labels and teacher, classes": lambda: beside_labels("cross-entropy"),
    "labels and teacher, numbers": lambda: beside_labels("mse"),
    "deterministic": deterministic,
}


if __name__ == "__main__":
    tell(CASES)
