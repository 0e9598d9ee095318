"""The mean magnitude of the loss's gradient at a model as it is, measured by an engine without training."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from dtc.data.npy import read_npz
from dtc.forms import Array
from dtc.recipe import Recipe, Training
from dtc.scratch import scratch_folder
from dtc.training.engine_choice import by_able_engine
from dtc.training.engine_kind import EngineKind
from dtc.training.launch import failure
from dtc.training.run import Run, create_run, leave_data
from dtc.training.work import GRADIENTS, Assignment


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
        return by_able_engine(run.recipe, lambda asked: _measured(run, asked.kind))


def _measured(run: Run, kind: EngineKind) -> dict[str, Array]:
    command, assignment = kind.command(), Assignment(job="gradients", engine=kind.name)
    # The session has no name, so the worker does not watch its standard input: it ends when it is done.
    done = subprocess.run(
        [*command.arguments, str(run.folder), "", assignment.to_json()],
        env=dict(command.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise failure(run, kind, done.returncode, "")
    return {name: array.astype(np.float32) for name, array in read_npz(run.folder / GRADIENTS).items()}
