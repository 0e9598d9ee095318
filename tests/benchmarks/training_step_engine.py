"""An engine's side of training_step.py: bursts of steps on request, in its process. Arguments: engine, threads, device.

Reads lines `<model> <steps>` and answers each with the seconds of its steps as JSON; the model `distortion` means one
distortion of all sites of the medium model by svd of rank 96.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from timed_steps import answer

from dtc import recipe
from dtc.models import build, plan
from dtc.passes.method import DistortionStep
from dtc.passes.plan import make_plan
from dtc.training.engine_kind import find_engine
from dtc.training.engine_settings import EngineSettings
from dtc.training.objective import resolve_objective
from dtc.training.optimizer import make_optimizer

Step = Callable[[], object]


def batch(name: str) -> dict[str, np.ndarray]:
    """Return random data of the sizes that the papers train with."""
    rng = np.random.default_rng(0)
    if name == "lenet-5":
        return {"image": rng.random((50, 1, 28, 28), dtype=np.float32), "labels": rng.integers(0, 10, 50)}
    ids, state = rng.integers(0, 10_000, (35, 20)), np.zeros((2, 20, 650), np.float32)
    return {"ids": ids, "labels": np.roll(ids, -1, axis=0), "h0": state, "c0": state}


def training(engine_name: str, name: str, threads: int, device: str = "cpu") -> Step:
    """Return one training step of a reference model: forward, backward, optimizer as in its plan."""
    fed, known = batch(name), plan(name)
    assert known.training is not None
    settings = EngineSettings(resolve_objective(known.objective, fed), threads=threads, device=device)
    engine = find_engine(engine_name).load()(build(name), settings, None)
    optimizer = make_optimizer(known.training.optimizer, engine.parameters)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        result = engine.step(fed, seed=done)
        optimizer.step(engine.parameters, result.gradients, rate=1e-3, t=done)

    return step


def distortion() -> Step:
    """Return one distortion of the medium model, trained weights stood in for by its initial ones."""
    model = build("ptb-medium")
    chosen = make_plan(model, [recipe.Rule(method="svd", options={"rank": 96})])
    weights = {str(v.name): v.const_value.numpy() for v in model.graph.initializers.values() if v.const_value}
    return lambda: chosen.distort(weights, DistortionStep(100, 10_000, 0))


def main() -> None:
    """Answer until the end of standard input."""
    engine, threads, device = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    answer(lambda name: distortion() if name == "distortion" else training(engine, name, threads, device))


if __name__ == "__main__":
    main()
