"""The model that the user gave is run before any work: what cannot run cannot be compared with either."""

from __future__ import annotations

from dtc.checking.candidate import first_inputs
from dtc.errors import DataError, UsageError
from dtc.graph import load_model
from dtc.graph.signature import input_specs
from dtc.pipeline.work import Work
from dtc.sample_inputs import InputSampler
from dtc.session import runner, session


def run_original(work: Work) -> None:
    """Run the model once, on generated inputs, or on the data where it takes none of these.

    A model that does not fit into memory is not run.

    Raises:
        UsageError: It does not fit, and what was asked for needs that it runs.
        ModelError: ONNX Runtime refuses the model, or it cannot run the data.
        DataError: No inputs that it takes were found.
    """
    if not work.runs_whole:
        _refuse_unrun(work)
        return
    run, model = runner(session(work.original)), load_model(work.original)
    try:
        InputSampler(model, run, seed=work.recipe.seed, fixed=work.job.fixed)
    except DataError as error:
        if work.samples.evaluation is None:
            raise DataError(f"{work.original}: {error}") from error
        run(first_inputs(input_specs(model), work.samples.evaluation, work.recipe.objective, work.recipe.seed))


def _refuse_unrun(work: Work) -> None:
    data = work.recipe.data
    given = data.train is not None or data.evaluate is not None
    if given or work.job.max_drop is not None:
        raise UsageError(
            f"{work.original}: {work.words_on_whole}; samples (--data) are run through it: give more, or leave them out"
        )
