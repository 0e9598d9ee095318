"""Run in the engine's process: a small recurrent network that every engine trains; prints JSON, a case each.

The network, its gradients and whole trainings are written out in NumPy, in double precision. A pair is [found, wanted].
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
from engine_under_test import make_engine, tell
from fake_engine import CLASSES, FEATURES, HIDDEN, network

from dtc.recipe import Objective, Optimizer
from dtc.training.engine import Engine
from dtc.training.optimizer import make_optimizer

OBJECTIVE = Objective(loss="cross-entropy", output="logits", carry={"hn": "h0"})
WEIGHTS = ("W", "U", "V")

Doubles = dict[str, np.ndarray]


def batch(size: int = 7, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, h0 = rng.normal(size=(size, FEATURES)), rng.normal(size=(size, HIDDEN))
    return {"x": x.astype("f"), "h0": h0.astype("f"), "labels": rng.integers(0, CLASSES, size)}


def weights_of(engine: Engine) -> Doubles:
    return {name: engine.parameters[name].astype("d") for name in WEIGHTS}


def by_hand(p: Mapping[str, np.ndarray], fed: Mapping[str, np.ndarray]) -> tuple[float, Doubles, Doubles]:
    """Return loss, outputs and gradients of `logits = tanh(x W + h0 U) V` under cross-entropy."""
    hn = np.tanh(fed["x"] @ p["W"] + fed["h0"] @ p["U"])
    logits = hn @ p["V"]
    shifted = logits - logits.max(1, keepdims=True)
    slope = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    rows = np.arange(len(slope))
    loss = -np.log(slope[rows, fed["labels"]]).mean()
    slope[rows, fed["labels"]] -= 1
    slope /= len(slope)
    inner = (slope @ p["V"].T) * (1 - hn**2)
    return loss, {"logits": logits, "hn": hn}, {"W": fed["x"].T @ inner, "U": fed["h0"].T @ inner, "V": hn.T @ slope}


def pairs(found: Mapping[str, np.ndarray], wanted: Doubles) -> dict[str, object]:
    assert sorted(found) == sorted(wanted)
    return {name: [found[name].tolist(), wanted[name].tolist()] for name in wanted}


def step() -> object:
    engine, fed = make_engine(network(), OBJECTIVE), batch()
    loss, outputs, gradients = by_hand(weights_of(engine), fed)
    result = engine.step(fed, seed=0)
    return {
        "loss": [result.loss, loss],
        "gradients": pairs(result.gradients, gradients),
        "carried": pairs(result.outputs, {"hn": outputs["hn"]}),
        "dtypes": sorted({str(array.dtype) for array in result.gradients.values()}),
    }


def evaluation() -> object:
    """Loss, predictions and moments, of weights that were written into the live arrays."""
    engine, fed = make_engine(network(), OBJECTIVE), batch()
    for name in WEIGHTS:
        engine.parameters[name] *= np.float32(1.5)
    loss, outputs, _ = by_hand(weights_of(engine), fed)
    found, carried = engine.loss(fed)
    moments, nothing = engine.moments(fed)
    return {
        "loss": [found, loss],
        "carried": pairs(carried, {"hn": outputs["hn"]}),
        "predicted": pairs(engine.predict({name: fed[name] for name in ("x", "h0")}), outputs),
        "statistics": [sorted(engine.statistics), len(moments), nothing],
        "names": [sorted(engine.parameters), sorted(engine.frozen), sorted(engine.positive)],
    }


def trained(options: Optimizer) -> object:
    """Thirty optimizer steps against the same optimizer on the gradients by hand; all in all and loss by loss."""
    engine = make_engine(network(), OBJECTIVE)
    hand = {name: array.copy() for name, array in engine.parameters.items()}
    optimizers = [make_optimizer(options, engine.parameters), make_optimizer(options, hand)]
    losses, wanted = [], []
    for t in range(1, 31):
        fed = batch(12, seed=t % 4)
        result = engine.step(fed, seed=t)
        losses.append(result.loss)
        optimizers[0].step(engine.parameters, result.gradients, rate=options.learning_rate, t=t)
        loss, _, gradients = by_hand({name: array.astype("d") for name, array in hand.items()}, fed)
        wanted.append(float(loss))
        single = {name: gradients[name].astype("f") for name in WEIGHTS}
        optimizers[1].step(hand, single, rate=options.learning_rate, t=t)
    return {"losses": [losses, wanted], "parameters": pairs(engine.parameters, hand)}


def digest() -> list[str]:
    engine = make_engine(network(), OBJECTIVE, threads=2)
    optimizer, seen = make_optimizer(Optimizer(), engine.parameters), []
    for t in range(1, 11):
        result = engine.step(batch(16, seed=t), seed=t)
        optimizer.step(engine.parameters, result.gradients, rate=1e-2, t=t)
        whole = b"".join(engine.parameters[name].tobytes() for name in WEIGHTS)
        seen.append(f"{result.loss.hex()} {hashlib.sha256(whole).hexdigest()}")
    return seen


def other_sizes() -> object:
    """Batches of several sizes, one after the other: [found, wanted] of each loss."""
    engine = make_engine(network(), OBJECTIVE)
    batches = [batch(size, seed=size) for size in (7, 1, 12, 7)]
    return [[engine.step(fed, seed=0).loss, by_hand(weights_of(engine), fed)[0]] for fed in batches]


CASES: dict[str, Callable[[], object]] = {
    "step": step,
    "evaluation": evaluation,
    "sgd": lambda: trained(Optimizer(kind="sgd", learning_rate=0.2, momentum=0.9)),
    "adam": lambda: trained(Optimizer(kind="adam", learning_rate=0.01)),
    "adamw": lambda: trained(Optimizer(kind="adamw", learning_rate=0.01, weight_decay=0.1, clip_norm=0.5)),
    "repeated": lambda: [digest(), digest()],
    "other sizes": other_sizes,
}


if __name__ == "__main__":
    tell(CASES)
