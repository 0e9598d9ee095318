"""One distortion without training, after measuring what the methods need from samples."""

from __future__ import annotations

import numpy as np

from dtc.passes.method import DistortionStep
from dtc.pipeline import measuring
from dtc.pipeline.work import Work
from dtc.report.weights import relative_error


def distort(work: Work) -> None:
    """Distort every chosen site once, and put the distorted weights in the place of the model's.

    Raises:
        UsageError: A method refuses its options for these sites.
        DataError: The data is missing, or does not fit the model.
    """
    plan = work.plan
    work.distorted = plan.distort(
        at=DistortionStep(seed=work.recipe.seed, probe=measuring.probe(work)),
        gradients=measuring.gradients(work),
        grams=work.gram_of,
    )
    # The error of each site while the model still has its old weights, then the new ones in their place.
    for site in plan.sites:
        if site.name in work.distorted.dense:
            dense = work.distorted.dense[site.name]
            work.errors[site.name] = relative_error(site.array().astype(np.float32), dense)
            site.assign(dense)
