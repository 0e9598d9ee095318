"""Activations that compressed weights read, rounded to few levels where the recipe says so."""

from __future__ import annotations

from collections.abc import Container

from dtc import calibration
from dtc.errors import UsageError
from dtc.passes.prepare import quantize_activations as quantizers
from dtc.passes.prepare.integer_regions import find_integer_activations
from dtc.passes.prepare.quantize_activations import Activation
from dtc.pipeline.work import Work

INTEGER_BITS = 8
"""Of the activations of products in integers, where the recipe says nothing else."""


def fit_activations(work: Work) -> None:
    """Fit the levels of the activations to samples.

    Raises:
        UsageError: No compressed weight reads an activation that can be quantized.
        DataError: The samples do not fit the model, or give values that are not finite.
    """
    # After the distortion, or before retraining: the ranges are those of the weights that the model has now.
    found = find_integer_activations(work.model, work.plan.in_integers)
    told = _told(work, {each.name for each in found})
    bits = work.recipe.activations.bits
    if not (told or found):
        if bits is not None:
            raise UsageError(
                "--activation-bits: no compressed weight reads an activation that can be quantized; the first layer "
                "reads the input as it is, and recurrent weights and embeddings are left alone"
            )
        return
    source = work.samples.train
    if source is not None:
        work.levels = calibration.fit_activations(
            work.model, [*told, *found], bits or INTEGER_BITS, source, work.recipe.objective, seed=work.recipe.seed
        )


def _told(work: Work, known: Container[str]) -> list[Activation]:
    """Return the activations that the recipe wants rounded, beside those of products in integers."""
    if work.recipe.activations.bits is None:
        return []
    return [each for each in quantizers.find_activations(work.model, work.plan.taken) if each.name not in known]


def quantize_activations(work: Work) -> None:
    """Put the quantizers into the graph."""
    quantizers.quantize_activations(work.model, work.levels)
    if work.levels:
        quantizers.end_at_clips(work.model)
