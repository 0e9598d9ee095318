"""The worker of the engine `ort`; run with the engine's own copy of onnxruntime first on the path."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx_ir as ir

from dtc import recipe
from dtc.metrics import make_metric
from dtc.passes.plan import make_plan
from dtc.training.engine import Engine
from dtc.training.engines.ort.engine import OrtEngine
from dtc.training.work import Tools
from dtc.training.worker import main


def _engine(model: ir.Model, told: recipe.Recipe, teacher: ir.Model | None) -> Engine:
    training = told.training
    assert training is not None, "a run has training"
    return OrtEngine(
        model,
        told.objective,
        teacher=teacher,
        freeze=training.freeze,
        threads=training.threads,
        batch_norm=told.batch_norm,
        delta=told.activations.delta,
    )


if __name__ == "__main__":
    folder, session, job = Path(sys.argv[1]), "".join(sys.argv[2:3]), "".join(sys.argv[3:4]) or "train"
    sys.exit(main(folder, session, Tools(_engine, make_plan, make_metric), job))
