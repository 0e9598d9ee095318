"""Run in the engine's process: BatchNormalization in training, in evaluation, and frozen; prints JSON, a case each.

A network of one convolution and one BatchNormalization is written out in NumPy, in double precision.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from engine_under_test import make_engine, tell

from dtc.models.net import Net
from dtc.passes.prepare.batch_moments import pooled
from dtc.recipe import Objective
from dtc.training import statistics
from dtc.training.engine import Engine
from dtc.training.swap import swapped

FLOAT = ir.DataType.FLOAT
EPSILON = 0.02
MEAN, VARIANCE = np.array([0.5, -1.0, 2.0]), np.array([1.5, 0.4, 3.0])


def network(dropped: float = 0.0) -> ir.Model:
    """y = norm(x W) over pixels, W a convolution of one pixel."""
    net = Net("normalized", 4)
    x = net.dropout("drop", net.input("x", FLOAT, ["N", 2, 3, 3]), dropped)
    first = net.op("Conv", "conv", [x, net.uniform("W", (3, 2, 1, 1), 1)], kernel_shape=[1, 1])
    inputs = [first, net.uniform("scale", (3,), 1), net.uniform("shift", (3,), 1)]
    inputs += [net.constant("mean", MEAN.astype("f")), net.constant("variance", VARIANCE.astype("f"))]
    return net.model({"y": (net.op("BatchNormalization", "norm", inputs, epsilon=EPSILON), ["N", 3, 3, 3])})


def engine_of(model: ir.Model, mode: str = "batch") -> Engine:
    return make_engine(model, Objective(loss="mse"), threads=1, batch_norm=mode)


def batch(size: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(size, 2, 3, 3)) + rng.normal()).astype("f")
    return {"x": x, "labels": rng.normal(size=(size, 3, 3, 3)).astype("f")}


def before_norm(engine: Engine, fed: dict[str, np.ndarray]) -> np.ndarray:
    return np.einsum("nihw,oi->nohw", fed["x"].astype("d"), engine.parameters["W"][:, :, 0, 0].astype("d"))


def loss_by_hand(engine: Engine, fed: dict[str, np.ndarray], mean: np.ndarray, variance: np.ndarray) -> float:
    def column(array: np.ndarray) -> np.ndarray:
        return array.astype("d")[None, :, None, None]

    y = (before_norm(engine, fed) - column(mean)) / np.sqrt(column(variance) + EPSILON)
    y = y * column(engine.parameters["scale"]) + column(engine.parameters["shift"])
    return float(np.square(y - fed["labels"]).mean())


def own(engine: Engine, fed: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    h = before_norm(engine, fed)
    return h.mean((0, 2, 3)), h.var((0, 2, 3))


def by_batch() -> object:
    """[found, wanted] of the losses of training, of evaluation, and of evaluation with the batch's own statistics."""
    engine, fed = engine_of(network()), batch(4)
    stepped = engine.step(fed, seed=0).loss
    kept = all(np.array_equal(engine.statistics[n], a.astype("f")) for n, a in (("mean", MEAN), ("variance", VARIANCE)))
    with swapped(engine.statistics, statistics.of_batch(engine, fed)):
        worn = engine.loss(fed)[0]
    wanted = loss_by_hand(engine, fed, *own(engine, fed))
    return {
        "training": [stepped, wanted],
        "evaluation": [engine.loss(fed)[0], loss_by_hand(engine, fed, MEAN, VARIANCE)],
        "worn": [worn, wanted],
        "kept": kept,
        "parameters": sorted(engine.parameters),
    }


def frozen() -> object:
    engine, fed = engine_of(network(), "frozen"), batch(4)
    wanted = loss_by_hand(engine, fed, MEAN, VARIANCE)
    found, carried = engine.moments(fed)
    return {
        "training": [engine.step(fed, seed=0).loss, wanted],
        "evaluation": [engine.loss(fed)[0], wanted],
        "statistics": sorted(engine.statistics) + sorted(statistics.of_batch(engine, fed)),
        "moments": [len(found), carried],
    }


def live() -> object:
    """Statistics are those of the present weights; what is written into them is evaluated and predicted with."""
    engine, parts = engine_of(network()), [batch(size, seed=size) for size in (4, 7, 1)]
    engine.parameters["W"] *= np.float32(3)
    found = pooled(engine.moments(fed)[0] for fed in parts)
    whole = {name: np.concatenate([fed[name] for fed in parts]) for name in ("x", "labels")}
    mean, variance = own(engine, whole)
    for name, array in found.items():
        engine.statistics[name][...] = array
    predicted = engine.predict(whole)["y"].astype("d")
    return {
        "mean": [found["mean"].tolist(), mean.tolist()],
        "variance": [found["variance"].tolist(), variance.tolist()],
        "evaluation": [engine.loss(whole)[0], loss_by_hand(engine, whole, mean, variance)],
        "prediction": [
            float(np.square(predicted - whole["labels"]).mean()),
            loss_by_hand(engine, whole, mean, variance),
        ],
    }


def without_dropout() -> object:
    """Dropout thins out what a training step normalises; statistics are measured without it."""
    engine, fed = engine_of(network(dropped=0.5)), batch(6)
    (found,), _ = engine.moments(fed)
    mean, variance = own(engine, fed)
    return {
        "mean": [found.mean.tolist(), mean.tolist()],
        "variance": [found.variance.tolist(), variance.tolist()],
        "stepped": engine.step(fed, seed=1).loss != engine.step(fed, seed=2).loss,
    }


CASES: dict[str, Callable[[], object]] = {
    "by batch": by_batch,
    "frozen": frozen,
    "live": live,
    "without dropout": without_dropout,
}


if __name__ == "__main__":
    tell(CASES)
