"""The distorted model becomes a file: dense to compare with, then lowered, and at last at its place."""

from __future__ import annotations

from pathlib import Path

from dtc.checking.fidelity import levels_of, save_comparable, save_reference
from dtc.checking.sites import find_regions
from dtc.errors import ModelError
from dtc.formatting import size
from dtc.graph import find_sites, publish
from dtc.passes import lean
from dtc.passes.lower.accuracy import set_accuracy_level
from dtc.passes.prepare import strip_training
from dtc.pipeline.reference import distorted_original
from dtc.pipeline.work import Work


def strip(work: Work) -> None:
    """Remove nodes that only training needs."""
    strip_training(work.model)


def write_dense(work: Work) -> None:
    """Write the user's model with the distorted weights, to compare the lowered one with, where both are run whole."""
    if not work.runs_whole:
        return
    work.dense = save_reference(distorted_original(work), place(work, "distorted"), levels_of(work.model))


def lower(work: Work) -> None:
    """Go on with the model as it was lowered when its sites were weighed, and keep the outcome of each lowering."""
    work.regular, work.model = work.model, work.tried.model
    work.lowered = {each.site.name: each for each in work.tried.lowered}
    work.leaner += work.tried.folded.words
    compressed = [site for site in find_sites(work.regular) if site.name in work.lowered]
    work.regions = find_regions(
        work.regular, work.model, compressed, work.tried.folded.stands_for
    )  # while values have the names that both know
    set_accuracy_level(work.model, work.recipe.accuracy_level)


def strip_names(work: Work) -> None:
    """Take out the names that only people read, where the recipe says so."""
    if work.recipe.lean.strip_names:
        saved = lean.strip_names(work.model)
        work.leaner.append(f"stripped names and descriptions of nodes, {size(saved)}")


def write(work: Work) -> None:
    """Write the lowered model, beside its place."""
    work.written = save_comparable(work.model, place(work, "lowered"))


def deliver(work: Work) -> None:
    """Put the written file in its place.

    Raises:
        ModelError: Something else came to be there meanwhile, or it cannot be written.
    """
    try:
        publish(work.written.path, work.job.output, force=work.job.force, keep=work.files)
    except OSError as error:
        raise ModelError(f"{work.job.output}: cannot be written ({error.strerror})") from error


def place(work: Work, stage: str) -> Path:
    """Return where a model is written beside the output: in a folder of its own, under the output's name."""
    folder = work.scratch / stage
    folder.mkdir()
    return folder / work.job.output.name
