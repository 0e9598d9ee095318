"""Vectors in float16, where the outputs allow that."""

from __future__ import annotations

from dataclasses import replace

from dtc.checking import fidelity
from dtc.formatting import size
from dtc.forms import halved
from dtc.passes.lean.half import TOLERANCE, halve_vectors
from dtc.pipeline.checking import faithful_options
from dtc.pipeline.weighing import lowered_copy
from dtc.pipeline.work import Work
from dtc.pipeline.writing import place


def halve(work: Work) -> None:
    """Go on with biases, and scales that were multiplied, in float16; with none if the outputs differ too much then.

    Raises:
        ModelError: ONNX Runtime refuses the model.
    """
    if not work.recipe.lean.half_vectors:
        return
    if not work.runs_whole:
        work.leaner.append(f"vectors stay in float32: {work.words_on_whole}")
        return
    tried = lowered_copy(work, work.distorted.forms, stored=halved)
    stored = [value for each in tried.lowered for value in each.stored.values()]
    vectors = halve_vectors(tried.model, stored)
    saved = vectors.nbytes + tried.folded.nbytes - work.tried.folded.nbytes
    if saved <= 0:
        return
    written = fidelity.save_comparable(tried.model, place(work, "halved"))
    limit = max([TOLERANCE, work.target.tolerance, *(each.tolerance or 0 for each in tried.lowered)])
    report = fidelity.check_faithful(work.dense, written, limit, faithful_options(work))
    if report.failures:
        work.leaner.append(f"vectors stay in float32: {report.failures[0]}")
        return
    work.tried = replace(tried, rounding=TOLERANCE)
    work.leaner.append(f"{vectors.count} vectors in float16, {size(saved)}")
