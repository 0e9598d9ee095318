"""The document of a search, from its points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dtc.report.search_document import CandidateFacts, PointFacts, SearchedSite, SearchReport
from dtc.search.candidate import Candidate, Mix
from dtc.search.goal import Goal
from dtc.search.points import BuiltPoint, BuiltPoints
from dtc.search.prepare import Prepared
from dtc.search.sensitivity import SiteTable


def describe(
    points: BuiltPoints,
    chosen: BuiltPoint,
    unseen: BuiltPoint,
    missed: str | None,
    uniform: Mapping[Candidate, Mix],
    prepared: Prepared,
    goal: Goal,
    alone: SiteTable,
) -> SearchReport:
    """Return the document of a search; `alone` has what each choice of each site takes and costs."""
    plain = frozenset(uniform.values())
    limit = goal.limit_bytes(prepared.model_bytes)
    built = sorted((point for mix, point in points.found.items() if mix in plain), key=lambda each: each.nbytes)
    front = points.front()
    used = {candidate for point in (chosen, *front, *built, *points.retrained) for _, candidate in point.mix}
    return SearchReport(
        schema="dtc-search/1",
        model_bytes=prepared.model_bytes,
        loss=prepared.words,
        limit_drop=goal.max_drop,
        limit_latency=goal.max_latency_ratio,
        latency=unseen.latency,
        limit_bytes=None if limit == float("inf") else limit,
        chosen=_facts(chosen, points, plain),
        unseen_drop=unseen.drop,
        unseen=prepared.halves.words,
        unseen_error=unseen.error,
        unseen_samples=unseen.samples,
        missed=missed,
        front=tuple(_facts(point, points, plain) for point in front),
        uniform=tuple(_facts(point, points, plain) for point in built),
        retrained=tuple(_facts(point, points, plain) for point in points.retrained),
        candidates={
            each.words: CandidateFacts(method=each.method, options=dict(each.options))
            for each in sorted(used, key=lambda each: each.words)
        },
        sites=tuple(_sites(chosen.mix, prepared, alone)),
        notes=prepared.notes,
    )


def _facts(point: BuiltPoint, points: BuiltPoints, plain: frozenset[Mix]) -> PointFacts:
    return PointFacts(
        words=point.words,
        sites={site: candidate.words for site, candidate in point.mix},
        bytes=point.nbytes,
        distance=point.distance,
        drop=point.drop,
        error=point.error,
        samples=point.samples,
        latency=point.latency,
        reaches=points.reaches(point),
        refused=point in points.refuted,
        uniform=point.mix in plain,
        retrained=point.training is not None,
    )


def _sites(mix: Mix, prepared: Prepared, alone: SiteTable) -> Iterator[SearchedSite]:
    chosen = dict(mix)
    for site, before in prepared.dense_bytes.items():
        candidate = chosen.get(site)
        found = next((each for each in alone.sites.get(site, ()) if each.candidate == candidate), None)
        yield SearchedSite(
            name=site,
            candidate=None if candidate is None else candidate.words,
            before=before,
            after=before if candidate is None else None if found is None else found.nbytes,
            distance=0.0 if candidate is None else None if found is None else found.loss,
        )
