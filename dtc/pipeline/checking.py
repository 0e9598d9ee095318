"""The checks of the written file: against the distorted dense model, then against the original."""

from __future__ import annotations

from dataclasses import replace

from dtc.checking import CheckOptions, check, check_unrun, fidelity
from dtc.checking.candidate import first_inputs
from dtc.checking.sites import Limit, SitesCheck, Subject, on_file
from dtc.errors import CheckFailedError
from dtc.graph import find_sites, load_model
from dtc.graph.signature import Arrays, input_specs
from dtc.pipeline.work import Work


def check_sites(work: Work) -> None:
    """Run each compressed site of the written file alone, beside its dense weight.

    Raises:
        CheckFailedError: One computes something else.
    """
    sites = {site.name: site for site in find_sites(work.regular) if site.name in work.lowered}
    file = load_model(work.written.path)
    nbytes = {name: 4 * site.size for name, site in sites.items()}
    limits = {name: _limit(work, name) for name in sites}
    alone = SitesCheck(Subject(work.regular, nbytes, limits), file, seed=work.recipe.seed)
    work.by_site, failures = alone.run(on_file(work.regions, work.model, file))
    if failures:
        raise CheckFailedError(f"{work.job.output}: not written, as it would be wrong: {'; '.join(failures)}")


def _limit(work: Work, name: str) -> Limit:
    """Return how far a site may be from its dense weight: what its target and its own lowering allow."""
    lowered, rounding = work.lowered[name], Limit(work.tried.rounding, "the rounding of vectors to float16")
    own = Limit(lowered.tolerance or 0.0, lowered.because)
    return max((Limit(work.target.tolerance), own, rounding), key=lambda limit: limit.relative_l2)


def check_faithful(work: Work) -> None:
    """Compare the written file with the user's model with the distorted weights, where they fit into memory.

    Raises:
        CheckFailedError: It computes something else, or nothing could be compared.
    """
    if not work.runs_whole:
        return
    limits = {each.tolerance: each.because for each in work.lowered.values() if each.tolerance is not None}
    limits |= {work.tried.rounding: "the rounding of vectors to float16"}
    limit = max((work.target.tolerance, *limits))
    options = replace(faithful_options(work), because=limits.get(limit, ""))
    work.faithful = fidelity.check_faithful(work.dense, work.written, limit, options)
    if work.faithful.failures:
        told = "; ".join(work.faithful.failures)
        raise CheckFailedError(f"{work.job.output}: not written, as it would be wrong: {told}")


def faithful_options(work: Work) -> CheckOptions:
    """Return the options of a check of what was lowered: on the first samples, where there are any, as well."""
    return replace(_options(work), examples=_examples(work))


def _examples(work: Work) -> tuple[Arrays, ...]:
    """Return the first samples where there are any: generated inputs may miss what they show."""
    source = work.samples.evaluation
    if source is None:
        return ()
    return (first_inputs(input_specs(load_model(work.original)), source, work.recipe.objective, work.recipe.seed),)


def check_outcome(work: Work) -> None:
    """Compare the written file with the original: metric, size, latency, memory; failures are kept, not raised."""
    if not work.runs_whole:
        outcome = check_unrun(work.original, work.written.path, work.words_on_whole)
        work.outcome = outcome.model_copy(update={"judged": work.job.max_drop is not None})
        return
    options = replace(
        _options(work),
        called=(str(work.original), str(work.job.output)),
        on_batch=work.on_event or (lambda _: None),
    )
    outcome = check(work.original, work.written.path, source=work.samples.evaluation, options=options)
    if outcome.metric is not None and work.training is not None:
        samples = f"{outcome.metric.samples}; the best of the trained weights were chosen by them"
        outcome = outcome.model_copy(update={"metric": outcome.metric.model_copy(update={"samples": samples})})
    work.outcome = outcome


def _options(work: Work) -> CheckOptions:
    recipe, job = work.recipe, work.job
    return CheckOptions(
        objective=recipe.objective,
        max_drop=job.max_drop,
        fixed=job.fixed,
        seed=recipe.seed,
        seconds=job.seconds,
        memory=work.memory,
    )
