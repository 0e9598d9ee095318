"""NNCF's own choice of precisions under a limit, in an interpreter that has it: `python nncf_control.py TOLD`.

It imports nothing of dtc, so that NNCF needs no place in dtc's environment. TOLD is a JSON file: the model, the output,
a folder of `.npz` batches with inputs and labels, the output to judge, and the most that accuracy may lose.
`quantize_with_accuracy_control` quantizes weights and activations to 8 bits, and takes back what costs most until the
limit is kept on the batches.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import onnx
import onnxruntime


def main() -> None:
    """Write the model that NNCF chooses."""
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    model = onnx.load(told["model"])
    names = [each.name for each in model.graph.input]
    batches = [dict(np.load(file)) for file in sorted(Path(told["batches"]).glob("*.npz"))]

    def inputs(batch: dict[str, Any]) -> dict[str, Any]:
        return {name: batch[name] for name in names}

    def accuracy(candidate: onnx.ModelProto, items: Any) -> tuple[float, None]:
        running = onnxruntime.InferenceSession(candidate.SerializeToString(), providers=["CPUExecutionProvider"])
        answers = [running.run(None, inputs(batch))[0].argmax(axis=-1) == batch["labels"] for batch in items]
        return float(np.concatenate(answers).mean()), None

    data = nncf.Dataset(batches, inputs)
    found = nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=data,
        validation_dataset=nncf.Dataset(batches),
        validation_fn=accuracy,
        max_drop=told["max_drop"],
        drop_type=nncf.DropType.ABSOLUTE,
    )
    onnx.save(found, told["output"])


if __name__ == "__main__":
    main()
