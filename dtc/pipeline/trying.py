"""The model that the user gave is run before any work: what cannot run cannot be compared with either."""

from __future__ import annotations

from dtc.checking.candidate import first_inputs
from dtc.errors import DataError
from dtc.graph import load_model
from dtc.graph.signature import input_specs
from dtc.pipeline.work import Work
from dtc.sample_inputs import InputSampler
from dtc.session import runner, session


def run_original(work: Work) -> None:
    """Run the model once, on generated inputs, or on the data where it takes none of these.

    Raises:
        ModelError: ONNX Runtime refuses the model, or it cannot run the data.
        DataError: No inputs that it takes were found.
    """
    run, model = runner(session(work.original)), load_model(work.original)
    try:
        InputSampler(model, run, seed=work.recipe.seed, fixed=work.job.fixed)
    except DataError as error:
        if work.samples.evaluation is None:
            raise DataError(f"{work.original}: {error}") from error
        run(first_inputs(input_specs(model), work.samples.evaluation, work.recipe.objective, work.recipe.seed))
