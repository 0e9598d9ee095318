"""The distorted model becomes a file: dense to compare with, then lowered, and at last at its place."""

from __future__ import annotations

from dtc.checking.fidelity import levels_of, save_comparable, save_reference
from dtc.graph import move_model
from dtc.passes import lower as lowering
from dtc.passes.lower.accuracy import set_accuracy_level
from dtc.passes.prepare import strip_training
from dtc.pipeline.reference import distorted_original
from dtc.pipeline.work import Work


def write_dense(work: Work) -> None:
    """Take out what only training needs, and write the user's model with the distorted weights."""
    strip_training(work.model)
    path = work.scratch / f"distorted-{work.job.output.name}"
    work.dense = save_reference(distorted_original(work), path, levels_of(work.model))


def lower(work: Work) -> None:
    """Put the compressed form of each site into the graph, and keep how it came to stand there.

    Raises:
        ModelError: A form cannot be lowered in this model.
    """
    items = work.plan.compressed(work.distorted.forms)
    work.lowered = {each.site.name: each for each in lowering.lower(work.model, items, work.target)}
    set_accuracy_level(work.model, work.recipe.accuracy_level)


def write(work: Work) -> None:
    """Write the lowered model, beside its place."""
    work.written = save_comparable(work.model, work.scratch / work.job.output.name)


def deliver(work: Work) -> None:
    """Put the written file in its place."""
    move_model(work.written.path, work.job.output)
