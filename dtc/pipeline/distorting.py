"""One distortion without training, after measuring what the methods need from samples."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc import calibration
from dtc.passes.method import DistortionStep, Probe
from dtc.pipeline.work import Work
from dtc.report.weights import relative_error
from dtc.training.gradients import measure_gradients


def distort(work: Work) -> None:
    """Distort every chosen site once, and put the distorted weights in the place of the model's.

    Raises:
        UsageError: A method refuses its options for these sites.
        DataError: The data is missing, or does not fit the model.
    """
    recipe, plan, samples = work.recipe, work.plan, work.samples.evaluation
    # 1. What methods ask for and data can tell: second moments on the samples that are evaluated on, gradients on those
    #    that are trained on.
    grams = None
    if samples is not None and "gram" in plan.needs:
        grams = calibration.Calibration(work.model, samples, recipe.objective, recipe.seed)
    measured = "gradient" in plan.needs and recipe.data.train is not None
    # 2. The distortion itself. Moments are measured when a method asks for those of a site, one site at a time.
    work.distorted = plan.distort(
        at=DistortionStep(seed=recipe.seed, probe=_probe(work)),
        gradients=measure_gradients(work.original, recipe, base=work.samples.base) if measured else {},
        grams=lambda site: grams.gram_of(site) if grams else None,
    )
    # 3. The error of each site while the model still has its old weights, then the new ones in their place.
    for site in plan.sites:
        if site.name in work.distorted.dense:
            dense = work.distorted.dense[site.name]
            work.errors[site.name] = relative_error(site.array().astype(np.float32), dense)
            site.assign(dense)


def _probe(work: Work) -> Probe | None:
    """Return the probe that measures how much worse other weights make the model; None if no method needs one."""
    if "probe" not in work.plan.needs:
        return None
    recipe = work.recipe
    return calibration.make_probe(
        work.model,
        work.plan.taken,
        recipe.objective,
        source=work.samples.evaluation,
        seed=recipe.seed,
        fixed=work.job.fixed,
    )


def measure_statistics(work: Work) -> None:
    """Give every BatchNormalization the statistics that it has under the model's present weights, where there is data.

    Raises:
        DataError: The data does not fit the model.
    """
    recipe = work.recipe
    if recipe.batch_norm == "frozen" or work.samples.train is None:
        return
    found = calibration.measure_statistics(work.model, work.samples.train, recipe.objective, seed=recipe.seed)
    for name, array in found.items():
        work.model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    count = len(found) // 2  # a mean and a variance each
    note = f"statistics of {count} BatchNormalizations measured anew on the samples (--batch-norm frozen leaves them)"
    if found and note not in work.notes:
        work.notes.append(note)
