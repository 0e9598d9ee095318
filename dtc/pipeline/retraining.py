"""Retraining with occasional distortion, in a worker process that takes the run directory."""

from __future__ import annotations

import shutil

import onnx_ir as ir

from dtc.errors import DataError, EngineError, ModelError, UsageError
from dtc.graph.walk import find_initializer
from dtc.passes.method import DistortionStep
from dtc.passes.plan import Distorted
from dtc.passes.prepare.quantize_activations import end_at_clips
from dtc.pipeline.distorting import put
from dtc.pipeline.work import Work
from dtc.training import launch
from dtc.training.run import Run


def try_rules(work: Work) -> None:
    """Distort once and discard the result, so that a method can refuse its options for these sites before training.

    Raises:
        UsageError: A method refuses its options for these sites.
    """
    # Without making up for errors, which takes most of the time and refuses nothing.
    work.plan.distort(at=DistortionStep(steps=1, seed=work.recipe.seed), grams=lambda _: lambda: None)


def train(work: Work) -> None:
    """Carry the retraining on to its end, from the newest checkpoint of the run.

    Raises:
        Interrupted: Ctrl-C; the run can be resumed.
        DtcError: Whatever the worker raised.
    """
    run = _run(work)
    try:
        work.training = launch.train(run.folder, on_event=work.on_event)
        work.run = run.reread()
        work.recipe = work.run.recipe
    except (UsageError, ModelError, DataError, EngineError):
        if work.began_run and not run.metrics.exists():  # a start that failed can be tried again in the same place
            shutil.rmtree(run.folder, ignore_errors=True)
        raise


def take_trained(work: Work) -> None:
    """Take the best distorted weights and their forms, and every other parameter that was trained with them.

    Raises:
        TrainingError: The files of the run are damaged.
    """
    assert work.training is not None, "the stage before this one trains"
    parameters, forms, skipped = work.training.load()
    # 1. All that was trained: biases, norms and scales as well, and the sites, in bodies of If, Loop and Scan too.
    for name, array in parameters.items():
        held = find_initializer(work.model, name)
        assert held is not None, "a run trains initializers of its model"
        held.const_value = ir.tensor(array, name=name)
    # 2. The sites once more, from their forms: what a file holds is the form, and its dense weights are these to the
    #    bit.
    work.distorted = Distorted({}, forms, skipped)
    # The weights that were distorted last are gone, and errors against the original's would tell nothing.
    for site in work.plan.sites:
        if site.name in forms:
            put(work, site, forms[site.name])
    if work.levels:
        end_at_clips(work.model)


def _run(work: Work) -> Run:
    assert work.run is not None, "a retraining has a run directory"
    return work.run
