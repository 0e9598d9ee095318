"""The mean magnitude of the loss's gradient at a model as it is, measured by an engine without training."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from dtc.data.npy import read_npz
from dtc.forms import Array
from dtc.recipe import Recipe, Training
from dtc.scratch import scratch_folder
from dtc.training.engine_kind import engine_of
from dtc.training.launch import failure
from dtc.training.run import create_run, leave_data
from dtc.training.work import GRADIENTS


def measure_gradients(model: Path, recipe: Recipe, *, base: Path = Path()) -> dict[str, Array]:
    """Return the mean magnitude of the gradient of each parameter over the first batches of the data, in a worker.

    Relative paths of the recipe's data start at `base`.

    Raises:
        DtcError: Whatever the worker raised: the engine cannot train the model, the data does not fit it.
    """
    with scratch_folder() as folder:
        # A run without rules: nothing is distorted, and gradients are those of the weights as they are.
        told = {"training": recipe.training or Training(), "rules": ()}
        plain = recipe.model_copy(update=told)
        run = create_run(folder / "run", plain, model, base=base, place_data=leave_data)
        command = engine_of(run.recipe).command()
        # The session has no name, so the worker does not watch its standard input: it ends when it is done.
        done = subprocess.run(
            [*command.arguments, str(run.folder), "", "gradients"],
            env=dict(command.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise failure(run, done.returncode, "")
        return {name: array.astype(np.float32) for name, array in read_npz(run.folder / GRADIENTS).items()}
