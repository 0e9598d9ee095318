"""The distorted model becomes a file: dense to compare with, then lowered, and at last at its place."""

from __future__ import annotations

from dtc.checking.fidelity import save_comparable
from dtc.graph import move_model
from dtc.passes import lower as lowering
from dtc.passes.lower.accuracy import set_accuracy_level
from dtc.passes.prepare import strip_training
from dtc.pipeline.work import Work


def write_dense(work: Work) -> None:
    """Remove nodes that only training needs, and write the distorted model as it is."""
    strip_training(work.model)
    work.dense = save_comparable(work.model, work.scratch / f"distorted-{work.job.output.name}")


def lower(work: Work) -> None:
    """Put the compressed form of each site into the graph, and keep the outcome of each lowering.

    Raises:
        ModelError: A form cannot be lowered in this model.
    """
    items = work.plan.compressed(work.distorted.forms)
    work.lowered = {each.site.name: each for each in lowering.lower(work.model, items, work.target)}
    set_accuracy_level(work.model, work.recipe.accuracy_level)


def write(work: Work) -> None:
    """Write the lowered model into the scratch folder beside the output."""
    work.written = save_comparable(work.model, work.scratch / work.job.output.name)


def deliver(work: Work) -> None:
    """Move the written file to the output."""
    move_model(work.written.path, work.job.output)
