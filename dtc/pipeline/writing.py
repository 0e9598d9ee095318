"""The distorted model becomes a file: dense to compare with, then lowered, and at last at its place."""

from __future__ import annotations

from dtc.checking.fidelity import save_comparable
from dtc.graph import move_model
from dtc.passes.lower.accuracy import set_accuracy_level
from dtc.passes.prepare import strip_training
from dtc.pipeline.work import Work


def strip(work: Work) -> None:
    """Remove nodes that only training needs."""
    strip_training(work.model)


def write_dense(work: Work) -> None:
    """Write the distorted model as it is, to compare the lowered one with."""
    work.dense = save_comparable(work.model, work.scratch / f"distorted-{work.job.output.name}")


def lower(work: Work) -> None:
    """Go on with the model as it was lowered when its sites were weighed, and keep the outcome of each lowering."""
    work.model = work.tried.model
    work.lowered = {each.site.name: each for each in work.tried.lowered}
    set_accuracy_level(work.model, work.recipe.accuracy_level)


def write(work: Work) -> None:
    """Write the lowered model into the scratch folder beside the output."""
    work.written = save_comparable(work.model, work.scratch / work.job.output.name)


def deliver(work: Work) -> None:
    """Move the written file to the output."""
    move_model(work.written.path, work.job.output)
