"""Run in the engine's process: steps on real models; prints JSON. Argument: the folder of the models."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from dtc.errors import EngineError
from dtc.graph import load_model
from dtc.recipe import Objective
from dtc.training.engine_settings import EngineSettings
from dtc.training.engines.ort.engine import OrtEngine
from dtc.training.statistics import of_batch
from dtc.training.swap import swapped

RATES = {
    "kws_dnn_s.onnx": 1e-3,
    "mnist-8.onnx": 1e-3,
}


def batches() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)

    def real(*shape: int) -> np.ndarray:
        return rng.random(shape, dtype=np.float32)

    def zero(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    return {
        "dtln_model_1.onnx": {"input_2": real(1, 1, 257), "input_3": real(1, 2, 128, 2), "labels": real(1, 1, 257)},
        "mnist-8.onnx": {"Input3": real(1, 1, 28, 28), "labels": rng.integers(0, 10, 1)},
        "kws_dnn_s.onnx": {"Mfcc:0": real(1, 25, 10), "labels": rng.integers(0, 10, 1)},
        "gtcrn_simple.onnx": {
            "mix": real(1, 257, 1, 2), "conv_cache": zero(2, 1, 16, 16, 33), "tra_cache": zero(2, 3, 1, 1, 16),
            "inter_cache": zero(2, 1, 33, 16), "labels": real(1, 257, 1, 2),
        },
    }  # fmt: skip


def examine(folder: Path, name: str, batch: dict[str, np.ndarray]) -> dict[str, object]:
    engine = OrtEngine(load_model(folder / name), EngineSettings(Objective(), threads=1))
    with swapped(engine.statistics, of_batch(engine, batch)):
        evaluated = engine.loss(batch)[0]
    first = engine.step(batch, seed=3)
    kept = {key: value.copy() for key, value in first.gradients.items()}
    second = engine.step(batch, seed=3)
    same = first.loss == second.loss and all(np.array_equal(kept[key], second.gradients[key]) for key in kept)
    for key, value in kept.items():
        engine.parameters[key] -= np.float32(RATES.get(name, 1e-2)) * value
    return {
        "evaluated": evaluated, "loss": first.loss, "after": engine.step(batch, seed=3).loss, "same": bool(same),
        "parameters": len(engine.parameters), "frozen": engine.frozen,
    }  # fmt: skip


def main() -> None:
    folder = Path(sys.argv[1])
    results: dict[str, object] = {name: examine(folder, name, batch) for name, batch in batches().items()}
    try:
        OrtEngine(load_model(folder / "silero_vad_v4.onnx"), EngineSettings(Objective(), threads=1))
    except EngineError as error:
        results["silero_vad_v4.onnx"] = str(error)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
