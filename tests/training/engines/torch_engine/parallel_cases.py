"""Run in the engine's process: two processes that share each batch, beside one that runs it whole; prints JSON."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir
from engine_under_test import make_engine, tell

from dtc.graph.signature import input_specs
from dtc.models.net import Net
from dtc.passes.plan import make_plan
from dtc.recipe import Objective, Recipe
from dtc.training.engine import Engine
from dtc.training.engines.torch.parallel.cut import cuts
from dtc.training.session import Session
from dtc.training.snapshot import Snapshot

FLOAT = ir.DataType.FLOAT
STEPS, SAMPLES, WIDTH = 6, 5, 8
LABELS = Objective(loss="cross-entropy", output="logits", carry={"hn": "h0"})
BATCHES = [
    {
        "x": np.random.default_rng(seed).normal(size=(STEPS, SAMPLES, 4)).astype(np.float32),
        "labels": np.where(np.arange(SAMPLES) == 1, -1, np.random.default_rng(seed).integers(0, 3, (STEPS, SAMPLES))),
    }
    for seed in range(6)
]
"""One sample has no label that counts, so that the parts have unlike numbers of them."""


def tagger() -> ir.Model:
    """An LSTM whose state is carried, BatchNormalization of its outputs, a layer: x is `[T, N, 4]`."""
    net = Net("tagger", 1)
    x, h0 = net.input("x", FLOAT, ["T", "N", 4]), net.input("h0", FLOAT, [1, "N", WIDTH])
    weights = [net.uniform("W", (1, 3 * WIDTH, 4), 1), net.uniform("R", (1, 3 * WIDTH, WIDTH), 0.5)]
    y, hn = net.ops("GRU", "gru", [x, *weights, None, None, h0], ["y", "hn"], hidden_size=WIDTH)
    flat = net.op("Squeeze", "flat", [y, net.constant("axis", np.array([1], np.int64))])
    turned = net.op("Transpose", "turned", [flat], perm=[1, 2, 0])
    ones, zeros = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    moments = [net.constant("scale", ones), net.constant("shift", zeros), net.constant("mean", zeros)]
    normed = net.op("BatchNormalization", "norm", [turned, *moments, net.constant("variance", ones.copy())])
    back = net.op("Transpose", "back", [normed], perm=[2, 0, 1])
    logits = net.op("MatMul", "logits", [back, net.uniform("out", (WIDTH, 3), 1)])
    return net.model({"logits": (logits, ["T", "N", 3]), "hn": (hn, [1, "N", WIDTH])})


def begun(processes: int) -> Session:
    rule = {"method": "uniform", "options": {"bits": 4}}
    told = {"rules": [rule], "data": {"train": "-"}, "training": {"optimizer": {"kind": "adam"}}}
    recipe = Recipe.model_validate(told | {"objective": LABELS.model_dump()})
    model = tagger()
    engine = make_engine(model, LABELS, processes=processes)
    return Session.begin(model, recipe, engine, make_plan(model, recipe.rules))


def trained(session: Session, batches: list[dict[str, np.ndarray]]) -> list[object]:
    """Losses and norms of steps, and the state that they leave."""
    taken = [session.step(batch, 3e-3) for batch in batches]
    return [[step.loss for step in taken], [step.norm for step in taken], session.progress.carry["h0"].tolist()]


def arrays(session: Session) -> dict[str, np.ndarray]:
    return {name: np.array(array) for name, array in session.snapshot().arrays.items()}


def outcome(engine: Engine, batch: dict[str, np.ndarray]) -> str:
    try:
        return str(engine.step(batch, seed=0).loss)
    except Exception as error:  # noqa: BLE001 - reported to the test
        return f"{type(error).__name__}: {error}"


def two() -> dict[str, object]:
    alone, both = begun(1), begun(2)
    # 1. The same steps by one process and by two, and what is wrong in the second one's part: its sample has no class.
    sides = [trained(alone, BATCHES)]
    told = trained(both, BATCHES[:3])
    with TemporaryDirectory() as folder:
        both.snapshot().save(Path(folder) / "half")
        rest = trained(both, BATCHES[3:])
        sides.append([told[0] + rest[0], told[1] + rest[1], rest[2]])
        whole, by_two = arrays(alone), arrays(both)
        fed = both.carry.join(BATCHES[0], {})
        wrong = outcome(both.engine, fed | {"labels": np.where(np.arange(SAMPLES) == 4, 77, fed["labels"])})
        both.engine.close()
        again = begun(2)
        again.restore(Snapshot.load(Path(folder) / "half"))
    # 2. The last of them once more from a checkpoint in their middle; then the second process dies.
    trained(again, BATCHES[3:])
    last = arrays(again)
    one = {name: array[:, :1] for name, array in fed.items()}
    single = [float(session.engine.step(one, seed=0).loss) for session in (alone, again)]
    os.kill(again.engine._crew.helpers[0].process.pid, signal.SIGKILL)
    died = outcome(again.engine, fed)
    again.engine.close()
    return {
        "sides": sides,
        "apart": {name: float(np.abs(array - by_two[name]).max(initial=0)) for name, array in whole.items()},
        "resumed": all(np.array_equal(array, last[name]) for name, array in by_two.items()),
        "single": single,
        "wrong": wrong,
        "died": died,
    }


def places() -> dict[str, object]:
    """Where batches would be cut, the likeliest first."""
    images, words = Net("images", 0), Net("words", 0)
    images.input("image", FLOAT, ["batch", 3, 4, 4])
    words.input("ids", ir.DataType.INT64, ["T", "N"])
    words.input("h0", FLOAT, [4, "N", 6])
    fed = {"image": np.zeros((4, 3, 4, 4), "f"), "labels": np.zeros(4, int)}
    told = {"ids": np.zeros((4, 4), int), "h0": np.zeros((4, 4, 6), "f"), "labels": np.zeros((4, 4), int)}
    return {
        name: [dict(cut.axes) for cut in cuts(input_specs(model), batch)]
        for name, model, batch in (("images", images.model({}), fed), ("words", words.model({}), told))
    }


if __name__ == "__main__":
    tell({"two": two, "places": places, "cuda": lambda: make_engine(tagger(), LABELS, device="cuda", processes=64)})
