"""Activations that compressed weights read, rounded to few levels where the recipe says so."""

from __future__ import annotations

from dtc import calibration
from dtc.errors import UsageError
from dtc.passes.prepare import quantize_activations as quantizers
from dtc.pipeline.work import Work


def fit_activations(work: Work) -> None:
    """Fit the levels of the activations to samples.

    Raises:
        UsageError: No compressed weight reads an activation that can be quantized.
        DataError: The samples do not fit the model, or give values that are not finite.
    """
    recipe, samples = work.recipe, work.samples
    bits = recipe.activations.bits
    if bits is None or samples.train is None:
        return
    # After the distortion, or before retraining: the ranges are those of the weights that the model has now.
    activations = quantizers.find_activations(work.model, work.plan.taken)
    if not activations:
        raise UsageError(
            "--activation-bits: no compressed weight reads an activation that can be quantized; the first layer reads "
            "the input as it is, and recurrent weights and embeddings are left alone"
        )
    work.levels = calibration.fit_activations(
        work.model, activations, bits, samples.train, recipe.objective, seed=recipe.seed
    )


def quantize_activations(work: Work) -> None:
    """Put the quantizers into the graph."""
    quantizers.quantize_activations(work.model, work.levels)
