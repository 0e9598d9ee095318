"""The report of the work: what was done to each site, the gain and the cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dtc.checking import CheckReport
from dtc.forms import stored_bytes
from dtc.graph import Site
from dtc.passes.lower import Lowered
from dtc.passes.plan import dense_of
from dtc.pipeline.work import Work
from dtc.report import Report, write_report
from dtc.report.curve import describe_training, read_events
from dtc.report.document import (
    Fidelity,
    Ratios,
    SiteOutcome,
    Standing,
    StandingForReader,
    TrainingOutcome,
    WeightsChange,
)
from dtc.report.provenance import describe_files, provenance
from dtc.report.weights import describe_weights
from dtc.site_facts import site_facts
from dtc.training.engine_kind import engine_title


def describe(work: Work) -> None:
    """Make the report of the work."""
    output = work.job.output
    # Rules and what they chose stand in the same order: rule 0 with its sites, rule 1 with its sites.
    methods = {
        site.name: rule.method
        for rule, (_, sites) in zip(work.recipe.rules, work.plan.chosen, strict=True)
        for site in sites
    }
    if work.plan.rest is not None:
        methods |= dict.fromkeys(_rest(work), work.plan.rest.name)
    work.report = Report(
        **provenance(work.recipe),
        model=describe_files(work.files),
        output=describe_files([output.with_name(file.name) for file in work.written.files]),
        ratios=_ratios(work),
        check=_named(work.outcome, work.original, output),
        by_site=work.by_site,
        fidelity=None if work.faithful is None else _fidelity(work.faithful, work),
        sites=tuple(_sites(work, methods)),
        training=_training(work),
        notes=(
            *work.remarks,
            *work.notes,
            *work.leaner,
            *_words_on_rest(work),
            *_caveats(work),
        ),
    )


def _caveats(work: Work) -> list[str]:
    found = () if work.faithful is None else work.faithful.caveats
    return [each for each in found if each not in work.outcome.caveats]


def _fidelity(faithful: CheckReport, work: Work) -> Fidelity:
    return Fidelity(relative_l2=faithful.largest_difference, quantizers=len(work.written.levels))


def _rest(work: Work) -> list[str]:
    """Return the sites that were rounded, as their own method left them alone."""
    return [site.name for site in work.plan.sites if site.name in work.lowered.keys() & work.distorted.skipped.keys()]


def _words_on_rest(work: Work) -> list[str]:
    names, bits = _rest(work), work.recipe.lean.rest_bits
    return [f"in {bits} bits, as their method leaves them alone: {', '.join(names)}"] if names else []


def leave_report(work: Work) -> None:
    """Write the report into the run directory and into the folder that the job names.

    Raises:
        UsageError: A folder cannot be written.
    """
    work.pages += [write_report(work.report, folder) for folder in _folders(work)]


def _folders(work: Work) -> list[Path]:
    run = None if work.run is None else work.run.folder
    return [folder for folder in (run, work.job.report) if folder is not None]


def _ratios(work: Work) -> Ratios:
    forms, outcome = {name: lowered.forms for name, lowered in work.lowered.items()}, work.outcome
    # Ratios are of sites that were compressed. 1000 float32 weights stored in 500 bytes: 4000 / 500 = 8, 8 * 500 / 1000
    # = 4 bits per weight. Parts that several sites share are counted once here, in `_site` at each.
    touched = [site for site in work.plan.sites if site.name in forms]
    stored = stored_bytes(form for site in touched for form in forms[site.name])
    weights = sum(site.size for site in touched)
    return Ratios(
        sites=sum(site.nbytes for site in touched) / stored if stored else 1.0,
        file=outcome.reference.file_bytes / outcome.candidate.file_bytes,
        bits_per_weight=8 * stored / weights if weights else 0.0,
    )


def _named(outcome: CheckReport, original: Path, output: Path) -> CheckReport:
    """Return a check whose files go by their names: a report may be read elsewhere, and moves with its run."""
    before = outcome.reference.model_copy(update={"path": Path(original.name)})
    after = outcome.candidate.model_copy(update={"path": Path(output.name)})
    return outcome.model_copy(update={"reference": before, "candidate": after})


def _sites(work: Work, methods: Mapping[str, str]) -> Iterator[SiteOutcome]:
    """Yield what came of each site; of large ones, no more than one is in memory at a time."""
    for site in work.plan.sites:
        yield _site(work, site, methods.get(site.name))
        work.store.let_go()


def _site(work: Work, site: Site, method: str | None) -> SiteOutcome:
    lowered = work.lowered.get(site.name)
    forms = lowered.forms if lowered else ()
    stored = stored_bytes(forms) if forms else site.nbytes
    return SiteOutcome(
        **site_facts(site, work.outcome.reference.file_bytes),
        method=method if forms else None,
        form=forms[0].kind if forms else None,
        detail=forms[0].detail if forms else "",
        stored_bytes=stored,
        file_bytes=lowered.nbytes if lowered else site.nbytes,
        ratio=site.nbytes / max(stored, 1),
        bits_per_weight=8 * stored / max(site.size, 1),
        error=work.errors.get(site.name),
        reason=None if forms else work.distorted.skipped.get(site.name),
        lowered=_standing(lowered) if lowered else None,
        weights=_weights(work, site),
    )


def _standing(lowered: Lowered) -> Standing:
    readers = tuple(
        StandingForReader(node=each.node, role=each.role, how=each.how, reason=each.reason, speed=each.speed)
        for each in lowered.readers
    )
    return Standing(
        how=lowered.how, reason=lowered.reason, speed=lowered.speed, readers=readers, caveats=lowered.caveats
    )


def _weights(work: Work, site: Site) -> WeightsChange | None:
    """Return the change of a site's weights; None where no report will be read, as the description takes time."""
    forms = work.distorted.forms.get(site.name)
    if forms is None or not (work.job.describe_weights or _folders(work)):
        return None
    # The original's weights: those in the model are the distorted ones by now.
    before = work.untouched[site.name].numpy()
    return describe_weights(before, dense_of(site, forms), site.matrices(before), forms)


def _training(work: Work) -> TrainingOutcome | None:
    if work.training is None or work.run is None:
        return None
    return describe_training(
        read_events(work.run.metrics), engine=engine_title(work.recipe), seconds=work.training.seconds
    )
