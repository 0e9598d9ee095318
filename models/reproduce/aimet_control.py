"""AIMET's own mix of precisions under a limit, in an interpreter that has it: `python aimet_control.py TOLD`.

It imports nothing of dtc, so that AIMET needs no place in dtc's environment. TOLD is a JSON file: the model, the
output, a folder of `.npz` batches with inputs and labels, and the most that accuracy may lose.
`choose_mixed_precision` begins with 8 bits for weights and 16 for activations, and takes what costs least down to 8 and
8 or to 4 and 8 until no more can be lost on the batches. Weights are written as integers.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from aimet_onnx import QuantizationSimModel
from aimet_onnx.common.defs import CallbackFunc, QuantizationDataType
from aimet_onnx.mixed_precision import choose_mixed_precision

_FIRST = 512
"""Samples that ranges of activations are taken from, and that tell how much each part of the model loses alone."""

_BITS = ((16, 8), (8, 8), (8, 4))
"""Of activations and weights: what each part of the model may have."""


def main() -> None:
    """Write the model that AIMET chooses."""
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    model = onnx.load(told["model"])
    batches = [dict(np.load(file)) for file in sorted(Path(told["batches"]).glob("*.npz"))]

    def answers(running: Any, batch: dict[str, Any]) -> Any:
        inputs = {name: array for name, array in batch.items() if name != "labels"}
        return running.run(None, inputs)[0].argmax(axis=-1) == batch["labels"]

    def first() -> list[dict[str, Any]]:
        counts = np.cumsum([len(batch["labels"]) for batch in batches])
        return batches[: int(np.searchsorted(counts, _FIRST)) + 1]

    def share(running: Any, some: list[dict[str, Any]]) -> float:
        return float(np.concatenate([answers(running, batch) for batch in some]).mean())

    def calibrate(running: Any, _: Any = None) -> None:
        share(running, first())

    candidates = [tuple((bits, QuantizationDataType.int) for bits in pair) for pair in _BITS]
    sim = QuantizationSimModel(model, default_activation_bw=_BITS[0][0], default_param_bw=_BITS[0][1])
    sim.compute_encodings(calibrate)
    with tempfile.TemporaryDirectory() as folder:
        choose_mixed_precision(
            sim,
            candidates,
            eval_callback_for_phase1=CallbackFunc(share, first()),
            eval_callback_for_phase2=CallbackFunc(share, batches),
            allowed_accuracy_drop=told["max_drop"],
            results_dir=folder,
            clean_start=True,
            forward_pass_callback=CallbackFunc(calibrate),
        )
    onnx.save(sim.to_onnx_qdq(prequantize_constants=True), told["output"])


if __name__ == "__main__":
    main()
