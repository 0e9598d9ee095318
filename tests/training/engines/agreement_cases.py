"""Run in the process of an engine: fifty steps on each of some models; prints JSON.

Arguments: the folder of the data, and one to leave the gradients of the first step in, `<model>.npz`, and for each by
how much rounding may move it, `<model>.noise.npz`. For each model the losses of all steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
from engine_under_test import make_engine, tell

from dtc.graph import load_model
from dtc.models import build
from dtc.models.net import Net
from dtc.passes.prepare import normalise
from dtc.recipe import Objective
from dtc.training.engine import Engine
from dtc.training.statistics import of_batch
from dtc.training.swap import swapped

STEPS = 50
FLOAT = ir.DataType.FLOAT

Arrays = dict[str, np.ndarray]


def transformer() -> ir.Model:
    """One block: attention of one head, LayerNormalization, two layers with Erf between them."""
    net = Net("block", 4)
    x, width = net.input("x", FLOAT, ["N", 6, 16]), 16

    def layer(name: str, data: ir.Value, inner: int, outer: int) -> ir.Value:
        product = net.op("MatMul", name, [data, net.uniform(f"{name}.weight", (inner, outer), 0.3)])
        return net.op("Add", f"{name}.sum", [product, net.uniform(f"{name}.bias", (outer,), 0.1)])

    def normed(name: str, data: ir.Value) -> ir.Value:
        parts = [net.uniform(f"{name}.scale", (width,), 1), net.uniform(f"{name}.shift", (width,), 0.1)]
        return net.op("LayerNormalization", name, [data, *parts])

    q, k, v = (layer(name, x, width, width) for name in "qkv")
    turned = net.op("Transpose", "turned", [k], perm=[0, 2, 1])
    scores = net.op("Mul", "scaled", [net.op("MatMul", "scores", [q, turned]), net.constant("s", np.float32(0.25))])
    seen = net.op("MatMul", "seen", [net.op("Softmax", "weights", [scores], axis=-1), v])
    first = normed("norm1", net.op("Add", "residual1", [x, seen]))
    wide = layer("up", first, width, 32)
    bent = net.op("Mul", "gelu", [wide, net.op("Erf", "erf", [wide])])
    last = normed("norm2", net.op("Add", "residual2", [first, layer("down", bent, 32, width)]))
    return net.model({"y": (layer("out", last, width, 5), ["N", 6, 5])})


def cases(folder: Path) -> dict[str, tuple[Callable[[], ir.Model], Arrays, float]]:
    """Model, batch and learning rate by name; at higher rates rounding errors grow from step to step."""
    rng = np.random.default_rng(0)

    def real(*shape: int) -> np.ndarray:
        return rng.random(shape, dtype=np.float32)

    def stored(path: str) -> Callable[[], ir.Model]:
        def load() -> ir.Model:
            model = load_model(folder / path)
            normalise(model)
            return model

        return load

    ids, state = rng.integers(0, 10000, (7, 4)), np.zeros((1, 4, 100), np.float32)
    images = {"image": real(10, 1, 28, 28), "labels": rng.integers(0, 10, 10)}
    speech = {"input": real(1, 1536), "h0": np.zeros((2, 1, 64), "f"), "c0": np.zeros((2, 1, 64), "f")}
    return {
        "language": (
            stored("onnx/ptb_rnnlm_lstm100_derived.onnx"),
            {"ids": ids, "h0": state, "c0": state, "labels": np.roll(ids, -1, 0)}, 0.1,
        ),
        "lenet": (lambda: build("lenet-5", dropout=0.5), images, 1e-3),
        "resnet": (
            stored("onnx/resnet20_cifar10_derived.onnx"),
            {"x": real(4, 3, 32, 32), "labels": rng.integers(0, 10, 4)}, 1e-4,
        ),
        "mobilenet": (
            stored("trained/mobilenetv2_cifar10.onnx"),
            {"image": real(4, 3, 32, 32), "labels": rng.integers(0, 10, 4)}, 1e-5,
        ),
        "speech": (stored("onnx/silero_vad_v3.onnx"), speech | {"labels": real(1, 2, 1)}, 1e-4),
        "transformer": (transformer, {"x": real(3, 6, 16), "labels": rng.integers(0, 5, (3, 6))}, 1e-2),
    }  # fmt: skip


def noise(engine: Engine, batch: Arrays, gradients: Arrays) -> Arrays:
    """Return how far each gradient moves when the floats fed move by a millionth.

    A number that sits on the edge of a Clip is on one side of it in one engine and on the other in another: its part of
    the gradient comes or goes.
    """
    rng, found = np.random.default_rng(1), dict.fromkeys(gradients, np.float32(0))
    for _ in range(4):
        moved = {
            name: (array * (1 + 1e-6 * rng.normal(size=array.shape))).astype("f") if array.dtype.kind == "f" else array
            for name, array in batch.items()
        }
        for name, gradient in engine.step(moved, seed=0).gradients.items():
            found[name] = max(found[name], np.linalg.norm(gradient - gradients[name]))
    return {name: np.array(distance) for name, distance in found.items()}


def trained(model: ir.Model, batch: Arrays, rate: float, gradients: Path) -> dict[str, object]:
    engine, losses = make_engine(model, Objective(), threads=1), []
    with swapped(engine.statistics, of_batch(engine, batch)):
        evaluated = engine.loss(batch)[0]
    logits = next(iter(engine.predict(batch).values()))
    first = {name: gradient.copy() for name, gradient in engine.step(batch, seed=0).gradients.items()}
    np.savez(gradients, **first)
    np.savez(gradients.with_suffix(".noise.npz"), **noise(engine, batch, first))
    same = True
    for step in range(STEPS):
        result = engine.step(batch, seed=step)
        same &= step > 0 or all(np.array_equal(first[name], again) for name, again in result.gradients.items())
        losses.append(result.loss)
        for name, gradient in result.gradients.items():
            engine.parameters[name] -= np.float32(rate) * gradient
    return {
        "losses": losses, "evaluated": evaluated, "by hand": cross_entropy(logits, batch["labels"]), "same": bool(same),
        "parameters": len(engine.parameters), "frozen": engine.frozen,
    }  # fmt: skip


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float | None:
    if labels.dtype.kind == "f":
        return None
    rows = logits.astype(np.float64).reshape(-1, logits.shape[-1])
    shifted = rows - rows.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return float(-log_p[np.arange(len(log_p)), labels.ravel()].mean())


if __name__ == "__main__":
    data, target = Path(sys.argv[1]), Path(sys.argv[2])
    tell(
        {
            name: lambda name=name, case=case: trained(case[0](), case[1], case[2], target / f"{name}.npz")
            for name, case in cases(data).items()
        }
    )
