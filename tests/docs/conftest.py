"""What the pages take for granted: a trained model, and samples of what it was trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from needed import lacking
from sklearn.datasets import load_digits

from dtc import models
from dtc.errors import DtcError
from dtc.models.train import train_reference


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model.onnx`, the digits network trained a little, and `train.npz`."""
    folder = tmp_path_factory.mktemp("example")
    plan = models.plan("digits-mlp")
    assert plan.training is not None
    short = plan.model_copy(update={"training": plan.training.model_copy(update={"epochs": 3})})
    try:
        train_reference(models.build("digits-mlp"), short, folder / "model.onnx", folder / "run")
    except DtcError as error:  # there is no engine for this Python or machine
        lacking(str(error))
    digits = load_digits()
    images = digits.images.reshape(-1, 1, 8, 8).astype(np.float32) / 16
    np.savez(folder / "train.npz", image=images, labels=digits.target)
    return folder


@pytest.fixture
def reader(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader works in, with the example's files."""
    for name in ("model.onnx", "train.npz"):
        shutil.copy(example / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path
