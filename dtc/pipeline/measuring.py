"""What methods ask for and samples can tell: second moments, gradients, and what other weights would cost.

What is measured is learnt from, so it is measured on the samples that nothing is judged on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dtc import calibration
from dtc.calibration import Calibration
from dtc.calibration.moments import HELD_LIMIT
from dtc.errors import DataError, EngineError, ModelError, TrainingError, UsageError
from dtc.forms import Array
from dtc.passes.method import Probe
from dtc.pipeline.work import Work
from dtc.training.gradients import measure_gradients

_SHARE = 8
"""Part of the memory that second moments may take; what solves with those of a site holds four times as much."""

_NAMED = 3
"""Sites that a note names."""


def measure_moments(work: Work) -> None:
    """Set up the second moments of the inputs of sites, where a method makes up for errors by them.

    They are measured when they are first asked for, those of all sites in one pass over the samples. Work that begins
    with moments keeps them.

    Raises:
        UsageError: A method was told to make up for errors, and there are no samples.
    """
    if work.moments is not None:
        return
    told = work.plan.compensated
    # Training makes up for errors itself: it starts from weights that do only where that was asked for.
    sites = told if work.recipe.training else work.plan.sites_with("gram")
    source = work.samples.train if sites else None
    if source is None:
        if told:
            reader = told[0].readers[0].node_name
            raise UsageError(f"--compensate needs samples of the inputs of {reader!r}: give --data")
        return
    recipe = work.recipe
    held = min(HELD_LIMIT, work.memory // _SHARE)
    moments = Calibration(work.model, sites, source, recipe.objective, seed=recipe.seed, held=held)
    work.moments = moments
    work.notes += _refusals(moments.refused)


def _refusals(refused: Mapping[str, str]) -> Iterator[str]:
    """Yield in words at which sites errors are not made up for, a line a reason."""
    for reason in dict.fromkeys(refused.values()):
        names = [name for name, own in refused.items() if own == reason]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"errors not made up for at {', '.join(names[:_NAMED])}{more}: {reason}"


def gradients(work: Work) -> Mapping[str, Array]:
    """Return the mean magnitudes of the gradients, by site, where a method weights by them and they can be had.

    Where they cannot, as of operators that no engine has a gradient of, or without an engine, the method goes on
    without weights, and a note says why.
    """
    recipe, sites = work.recipe, work.plan.sites_with("gradient")
    if work.gradients is not None:
        return work.gradients
    if not sites or work.samples.train is None:
        return {}
    try:
        found = measure_gradients(work.original, recipe, base=work.samples.base)
    except (EngineError, TrainingError, ModelError, DataError) as error:
        work.notes.append(f"not weighted by gradients, which cannot be had here: {error}")
        return {}
    if missing := [site.name for site in sites if site.name not in found]:
        work.notes.append(f"not weighted by gradients, which the engine does not give: {', '.join(missing)}")
    return found


def probe(work: Work) -> Probe | None:
    """Return the probe that measures how much worse other weights make the model; None if no method needs one.

    Raises:
        UsageError: One does, and the model does not fit into memory.
    """
    probed = work.plan.sites_with("probe")
    if not probed:
        return None
    if not work.runs_whole:
        raise UsageError(f"{probed[0].name!r} needs the model to be run with other weights, and {work.words_on_whole}")
    recipe = work.recipe
    return calibration.make_probe(
        work.model,
        work.plan.taken,
        recipe.objective,
        source=work.samples.train,
        seed=recipe.seed,
        fixed=work.job.fixed,
    )
