"""The checks of the written file: against the distorted dense model, then against the original."""

from __future__ import annotations

from dtc.checking import CheckOptions, check, fidelity
from dtc.errors import CheckFailedError
from dtc.pipeline.work import Work


def check_faithful(work: Work) -> None:
    """Compare the written file with the distorted dense model.

    Raises:
        CheckFailedError: The file computes something else.
    """
    # The widest tolerance of all: a site whose operator computes less exactly than the dense product has one of its
    # own.
    limits = (each.tolerance for each in work.lowered.values() if each.tolerance is not None)
    limit = max((work.target.tolerance, *limits))
    work.faithful = fidelity.check_faithful(work.dense, work.written, limit, _options(work))
    if work.faithful.failures:
        told = "; ".join(work.faithful.failures)
        raise CheckFailedError(f"{work.job.output}: not written, as it would be wrong: {told}")


def check_outcome(work: Work) -> None:
    """Compare the written file with the original: metric, size, latency, memory; failures are kept, not raised."""
    work.outcome = check(work.original, work.written.path, source=work.samples.evaluation, options=_options(work))


def _options(work: Work) -> CheckOptions:
    recipe, job = work.recipe, work.job
    return CheckOptions(
        objective=recipe.objective, max_drop=job.max_drop, fixed=job.fixed, seed=recipe.seed, seconds=job.seconds
    )
