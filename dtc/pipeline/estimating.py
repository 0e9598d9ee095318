"""The estimate before the work: what each site would become, the size of the file, memory, disk and time.

Of a model of few weights all is done but the writing, so that its size is the file's own. Of a larger one sites are
foreseen by shapes and by some of their rows.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from dtc.calibration import Calibration
from dtc.checking.session_memory import memory_of_sites
from dtc.cores import cores
from dtc.custom_ops import custom_ops
from dtc.damage import damage_named
from dtc.document import Document, DocumentPart
from dtc.errors import ModelError
from dtc.formatting import size
from dtc.graph import Site
from dtc.graph.bare import bare_initializers
from dtc.graph.serialization import to_proto
from dtc.graph.walk import all_tensors
from dtc.job import Job
from dtc.outlook import around_each, saved_bytes
from dtc.passes.foresight import Foreseen, foresee
from dtc.passes.lower.ledger import array_bytes
from dtc.passes.method import DistortionStep
from dtc.pipeline.choosing import choose, normalise
from dtc.pipeline.measuring import measure_moments
from dtc.pipeline.weighing import weigh
from dtc.pipeline.work import Work, begin
from dtc.pipeline.writing import lower, strip, strip_names
from dtc.recipe import Recipe
from dtc.site_facts import SiteFacts, site_facts

TRIED = 4_000_000
"""Weights of a model that is compressed to be told: some seconds."""

_SOLVING = 5
"""Second moments of a pass, and of what solves with those of one site four times as much at most."""

_CHECKED = 40e6
"""Weights that the checks read in a second."""


class ForeseenSite(SiteFacts):
    """A site, and what would become of it.

    Attributes:
        method: The method; None where the site would be left alone.
        form: Kind of the form; None likewise.
        detail: What is particular to the form, in words.
        file_bytes: Bytes that the site would take in the file.
        exact: Whether these follow from shapes, or from the whole weight; else they are an estimate.
        reason: Why it would be left alone.
    """

    method: str | None
    form: str | None
    detail: str
    file_bytes: int
    exact: bool
    reason: str | None


class Needs(DocumentPart):
    """What the work would take: bytes of memory and of the output's disk, seconds; and what there is of them.

    Attributes:
        memory: Peak of all processes, in bytes, without running the whole model.
        memory_of_whole: With it.
        memory_allowed: What may be used.
        runs_whole: Whether the whole model would be run.
        disk: The file and what is written beside it meanwhile.
        disk_free: What is free there.
        seconds: Without retraining and calibration; an estimate.
    """

    memory: int
    memory_of_whole: int
    memory_allowed: int
    runs_whole: bool
    disk: int
    disk_free: int
    seconds: float


class Estimate(Document):
    """What `dtc compress --dry-run --json` prints.

    Attributes:
        model: Name of the model's file.
        model_bytes: Of all its files.
        output_bytes: Of the file that would be written, external data counted.
        exact: Whether that is exact.
        sites: All sites of the model.
        needs: What it would take.
        notes: What else is to be known, in words.
    """

    schema_: Literal["dtc-estimate/1"] = Field("dtc-estimate/1", alias="schema")
    model: str
    model_bytes: int
    output_bytes: int
    exact: bool
    sites: tuple[ForeseenSite, ...]
    needs: Needs
    notes: tuple[str, ...] = ()


def estimate(path: Path, recipe: Recipe, job: Job, *, base: Path = Path()) -> Estimate:
    """Return what compressing the model at `path` would give and take; nothing is written.

    Raises:
        DtcError: Whatever is wrong with model, recipe or output, in words for the user; or memory or disk cannot do.
    """
    job.refuse_early(path, recipe)
    with custom_ops(base / library for library in recipe.custom_ops), damage_named(path):
        work = begin(path, recipe, job, base)
        refuse_unfit(work)
        needs = _needs(work)
        normalise(work)
        choose(work)
        needs = _with_moments(work, needs)
        weights = sum(site.size for site in work.plan.taken)
        whole = weights <= TRIED and not any("probe" in method.needs for method, _ in work.plan.chosen)
        return _tried(work, needs) if whole else _foreseen(work, needs)


def refuse_unfit(work: Work) -> None:
    """Stop before any work that memory or disk cannot do.

    Raises:
        ModelError: They cannot; the message names what mends it.
    """
    needed = memory_of_sites(work.model)
    if needed > work.memory:
        raise ModelError(
            f"{work.original}: its largest weight takes {size(needed)} of memory, and {size(work.memory)} may be used; "
            "give more (--memory), or run it where there is more"
        )
    output, disk, free = work.job.output, _disk(work), _free(work)
    if disk > free:
        raise ModelError(
            f"{output}: cannot be written, its disk has {size(free)} free and the work needs {size(disk)}; "
            "make room, or choose another --output"
        )


def _disk(work: Work) -> int:
    """Return the most bytes that are written beside the output at a time."""
    # The file is no larger than the model. Where models are run whole, the dense one is written too.
    model = sum(file.stat().st_size for file in work.files)
    return 2 * model if work.runs_whole else model


def _free(work: Work) -> int:
    return shutil.disk_usage(work.job.output.absolute().parent).free


def _needs(work: Work) -> Needs:
    """Return what the work takes beside the time of the methods."""
    return Needs(
        memory=memory_of_sites(work.model),
        memory_of_whole=work.whole_memory,
        memory_allowed=work.memory,
        runs_whole=work.runs_whole,
        disk=_disk(work),
        disk_free=_free(work),
        seconds=sum(tensor.size for tensor in all_tensors(work.model)) / _CHECKED + work.runs_whole * work.job.seconds,
    )


def _with_moments(work: Work, needs: Needs) -> Needs:
    """Add what making up for errors takes, and say so."""
    measure_moments(work)
    passes = work.moments.passes if isinstance(work.moments, Calibration) else ()
    if not passes:
        return needs
    held = _SOLVING * max(passes)
    times = "once" if len(passes) == 1 else f"{len(passes)} times"
    work.remarks.append(
        f"errors are made up for by second moments, which take {size(held)} beside the model; for them it is run over "
        f"the samples {times}"
    )
    return needs.model_copy(update={"memory_of_whole": needs.memory_of_whole + held})


def _tried(work: Work, needs: Needs) -> Estimate:
    """Compress, and write nothing."""
    begun = time.process_time()
    work.distorted = work.plan.distort(at=DistortionStep(seed=work.recipe.seed))
    for site in work.plan.sites:
        if site.name in work.distorted.dense:
            site.assign(work.distorted.dense[site.name])
    strip(work)
    weigh(work)
    lower(work)
    strip_names(work)
    with bare_initializers(work.model):
        written = int(to_proto(work.model).ByteSize())
    found = {
        name: Foreseen(each.nbytes, each.forms[0].kind, each.forms[0].detail) for name, each in work.lowered.items()
    }
    for site in work.plan.sites:
        found.setdefault(site.name, Foreseen(site.nbytes, reason=work.distorted.skipped.get(site.name)))
    exact = not (work.recipe.training or work.samples.train or work.recipe.lean.half_vectors)
    needs = needs.model_copy(update={"seconds": needs.seconds + time.process_time() - begun})
    return _estimate(work, found, written, needs, exact=exact)


def _foreseen(work: Work, needs: Needs) -> Estimate:
    found = foresee(work.plan, seed=work.recipe.seed)
    functions = work.target.functions
    saved, around = saved_bytes(work.plan.sites, found, functions=functions), around_each(found, functions=functions)
    for site in work.plan.sites:
        each, dense = found[site.name], array_bytes(site.value, site.nbytes)
        if site.name in saved:
            found[site.name] = replace(each, nbytes=each.nbytes + around)
        elif each.form is not None:
            reason = f"saves nothing: {size(each.nbytes)} in the file, for {size(dense)}"
            found[site.name] = Foreseen(site.nbytes, reason=reason)
    written = _model_bytes(work) - sum(saved.values())
    seconds = sum(each.seconds for each in found.values()) / (work.job.workers or cores())
    needs = needs.model_copy(update={"seconds": needs.seconds + seconds})
    return _estimate(work, found, written, needs, exact=False)


def _model_bytes(work: Work) -> int:
    return sum(file.stat().st_size for file in work.files)


def _estimate(work: Work, found: dict[str, Foreseen], written: int, needs: Needs, *, exact: bool) -> Estimate:
    before = _model_bytes(work)
    methods = {
        site.name: rule.method
        for rule, (_, sites) in zip(work.recipe.rules, work.plan.chosen, strict=True)
        for site in sites
    }
    return Estimate(
        model=work.original.name,
        model_bytes=before,
        output_bytes=written,
        exact=exact,
        sites=tuple(_site(site, found[site.name], methods.get(site.name), before) for site in work.plan.sites),
        needs=needs,
        notes=tuple(work.remarks),
    )


def _site(site: Site, found: Foreseen, method: str | None, before: int) -> ForeseenSite:
    return ForeseenSite(
        **site_facts(site, before),
        method=method if found.form else None,
        form=found.form,
        detail=found.detail,
        file_bytes=found.nbytes,
        exact=found.exact,
        reason=found.reason,
    )
