"""A retraining by PyTorch as a user's, in the folder that is named: the compressed model must become better by it."""

import platform
import sys
from itertools import islice
from pathlib import Path

import numpy as np

import dtc
from dtc.graph import save_model
from dtc.models import build
from dtc.models.datasets import mnist


def main(folder: Path) -> None:
    """Retrain LeNet-5 in low rank on a thousand digits."""
    save_model(build("lenet-5"), folder / "lenet.onnx")
    batches = list(islice(mnist(), 20))
    np.savez(folder / "digits.npz", **{name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]})
    training = {"steps": 20, "distort_every": 10, "optimizer": {"learning_rate": 0.003}}
    told = {"data": {"train": str(folder / "digits.npz")}, "training": training}
    recipe = dtc.Recipe.model_validate({"rules": [{"method": "svd", "options": {"rank": 8}}], **told})
    report = dtc.compress(folder / "lenet.onnx", recipe, dtc.Job(folder / "retrained.onnx", seconds=0)).report
    assert report.check is not None
    assert report.training is not None
    metric, trained = report.check.metric, report.training
    assert metric is not None
    said = f"Python {platform.python_version()}, {trained.engine}: accuracy {metric.before:.3f} -> {metric.after:.3f}\n"
    sys.stdout.write(said)
    assert trained.engine.startswith("PyTorch")
    assert metric.after > metric.before + 0.2


if __name__ == "__main__":
    main(Path(sys.argv[1]))
