"""The report of a run that is not finished."""

from __future__ import annotations

from dtc.graph import load_model, model_files
from dtc.report.curve import describe_training, read_events
from dtc.report.document import Report
from dtc.report.provenance import describe_files, provenance
from dtc.training.engine_kind import engine_title
from dtc.training.run import Run


def report_unfinished(run: Run) -> Report:
    """Return the report of a run as far as it has come: recipe and training curve, no sites yet.

    Raises:
        TrainingError: The events of the run are missing or damaged.
    """
    trained = run.recipe.training is not None
    return Report(
        **provenance(run.recipe),
        model=describe_files(model_files(run.model_path, load_model(run.model_path))),
        output=None,
        ratios=None,
        check=None,
        fidelity=None,
        sites=(),
        training=describe_training(read_events(run.metrics), engine=engine_title(run.recipe), seconds={})
        if trained
        else None,
    )
