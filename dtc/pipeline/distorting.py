"""One distortion without training, after measuring what the methods need from samples: a site at a time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from dtc.cores import cores
from dtc.distortion import SiteTask, SiteWorkers
from dtc.forms import Array, Form
from dtc.graph import Site
from dtc.passes.method import DistortionStep, Outcome, Probe
from dtc.passes.plan import Distorted, Portion, dense_of, facts_of
from dtc.pipeline import measuring
from dtc.pipeline.progress import ModelProbed, SiteDone
from dtc.pipeline.work import Work

WORTH_WORKERS = 1 << 26
"""Bytes of weights from which processes gain more than the second that it takes to start them."""

_IDLE = 200_000_000
"""Bytes of a worker that has read nothing yet."""

_TIMES = 6
"""Copies of a weight that a method makes on the way, as float32."""


def distort(work: Work) -> None:
    """Distort every chosen site once, and put the distorted weights in the place of the model's.

    Raises:
        UsageError: A method refuses its options for these sites.
        DataError: The data is missing, or does not fit the model.
    """
    plan = work.plan
    at = DistortionStep(seed=work.recipe.seed, probe=measuring.probe(work))
    slopes = measuring.gradients(work)
    plan.refuse_sizes()
    portions = list(plan.portions(at))
    at = replace(at, probe=_told(work, at.probe, sum(each.method.probes(len(each.sites)) for each in portions)))
    tasks = {site: _task(work, portion, site, at, slopes) for portion in portions for site in portion.sites}
    apart = _for_workers(portions, tasks)
    result = Distorted(skipped=dict(plan.skipped))
    with SiteWorkers(_count(work, apart), work.store.folder) as workers:
        there = workers.results([tasks[site] for site in apart])
        for portion in portions:
            if apart.keys() >= set(portion.sites):
                found = next(there)
                outcomes = {portion.sites[0].name: (work.store.take(found.outcome), found.error)}
            else:
                outcomes = _here(work, portion, tasks, at)
            for site in portion.sites:
                _enter(work, result, site, tasks[site], outcomes[site.name])
                _tell(work, site, tasks)
    # Once all are known: until then others are measured in the model as it was.
    work.distorted = result
    for site in plan.sites:
        if site.name in result.forms:
            put(work, site, result.forms[site.name])


def _told(work: Work, probe: Probe | None, most: int) -> Probe | None:
    """Return a probe that tells how often it was asked, of `most` times."""
    if probe is None or work.on_event is None:
        return probe
    tell, counted = work.on_event, itertools.count(1)

    def telling(matrices: Mapping[str, Array]) -> float:
        loss = probe(matrices)
        tell(ModelProbed(next(counted), most))
        return loss

    return telling


def _for_workers(portions: Sequence[Portion], tasks: Mapping[Site, SiteTask]) -> dict[Site, SiteTask]:
    """Return what other processes can do: sites that a method takes by themselves, with nothing that a run measures."""
    alone = [site for portion in portions for site in portion.sites if len(portion.sites) == 1]
    free = {site: tasks[site] for site in alone if tasks[site].can_leave}
    return free if sum(site.nbytes for site in free) >= WORTH_WORKERS else {}


def _count(work: Work, apart: Mapping[Site, SiteTask]) -> int:
    """Return how many processes there are to be: what cores, memory and sites allow."""
    needed = _IDLE + _TIMES * 4 * max((site.size for site in apart), default=0)
    return max(1, min(work.job.workers or cores(), len(apart), work.memory // needed))


def _task(work: Work, portion: Portion, site: Site, at: DistortionStep, slopes: Mapping[str, Array]) -> SiteTask:
    tensor = site.value.const_value
    assert tensor is not None
    facts: dict[str, Any] = facts_of(site, work.plan.sites)
    if site.name in slopes:
        facts["gradient"] = site.matrices(slopes[site.name])
    if (gram := work.gram_of(site)) is not None:
        facts["gram"] = gram
    # A probe holds the model, and stays in this process.
    own = at if "probe" in portion.method.needs else replace(at, probe=None)
    return SiteTask(portion.method, facts, tensor, site.view, own)


def _here(
    work: Work, portion: Portion, tasks: Mapping[Site, SiteTask], at: DistortionStep
) -> dict[str, tuple[Outcome, float]]:
    """Distort sites in this process; return the outcome and the error of each."""
    outcomes = portion.method.distort([tasks[site].weights() for site in portion.sites], at)
    errors = {site.name: tasks[site].error_of(outcomes[site.name]) for site in portion.sites}
    kept = work.store.take(work.store.keep(outcomes))  # together: they may have arrays in common
    return {name: (kept[name], error) for name, error in errors.items()}


def _enter(work: Work, result: Distorted, site: Site, task: SiteTask, found: tuple[Outcome, float]) -> None:
    outcome, error = found
    forms, reason = work.plan.settled(site, outcome, task.weights, task.at)
    if reason is not None:
        result.skipped[site.name] = reason
    if forms and reason is not None:  # of the method for the rest
        forms, error = work.store.take(work.store.keep(forms)), task.error_of(forms)
    if forms:
        result.forms[site.name], work.errors[site.name] = forms, error
    work.store.let_go()


def _tell(work: Work, site: Site, tasks: Mapping[Site, SiteTask]) -> None:
    if work.on_event is not None:
        sites = list(tasks)
        done = sites[: sites.index(site) + 1]
        nbytes = sum(each.nbytes for each in done), sum(each.nbytes for each in sites)
        work.on_event(SiteDone(site.name, len(done), len(sites), *nbytes))


def put(work: Work, site: Site, forms: Sequence[Form]) -> None:
    """Give a site the weight that forms stand for; a large one is decoded whenever it is asked for, and never held."""
    if site.nbytes < work.store.large:
        site.assign(dense_of(site, forms))
        return
    dtype = site.value.dtype or ir.DataType.FLOAT

    def decoded() -> ir.TensorProtocol:
        array = dense_of(site, forms).astype(dtype.numpy(), copy=False)
        work.store.let_go()
        return ir.tensor(array, dtype=dtype, name=site.name)

    site.value.const_value = ir.LazyTensor(decoded, dtype, ir.Shape(site.shape), name=site.name)
