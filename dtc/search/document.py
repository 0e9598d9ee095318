"""What a search has found, as the document that `dtc search --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from dtc.document import Document, DocumentPart, Real
from dtc.search.candidate import Candidate, Mix
from dtc.search.goal import Goal
from dtc.search.points import BuiltPoint, BuiltPoints
from dtc.search.prepare import Prepared


class PointFacts(DocumentPart):
    """A file that was built and measured.

    Attributes:
        words: What it is made of: each candidate with its number of sites.
        sites: The candidate of each site, in words; sites that stay as they are are not in it.
        bytes: Bytes of the file.
        distance: Mean distance of the outputs from the original's, on the samples that the search decided by.
        drop: What the metric loses there, in its own unit; without labels see `SearchReport.loss`.
        uniform: Whether it has one candidate at all sites.
    """

    words: str
    sites: Mapping[str, str]
    bytes: int
    distance: Real
    drop: Real
    uniform: bool


class SearchReport(Document):
    """What a search has found.

    Attributes:
        model_bytes: Bytes of the model's files.
        loss: What is lost, in words: the metric, or how outputs are compared.
        limit_drop: The most that may be lost; None: it was not limited.
        limit_bytes: The most bytes of the file; None: they were not limited.
        chosen: The file that was written.
        unseen_drop: What that loses on samples that the search has not seen.
        unseen: Which samples these are.
        missed: By what it misses the goal, in words; None: it reaches it.
        front: The files that none beats in bytes and distance, from the smallest on.
        uniform: The files with one candidate everywhere, from the smallest on.
        notes: What is to be known beside.
    """

    schema_: Literal["dtc-search/1"] = Field("dtc-search/1", alias="schema")
    model_bytes: int
    loss: str
    limit_drop: float | None
    limit_bytes: float | None
    chosen: PointFacts
    unseen_drop: Real
    unseen: str
    missed: str | None
    front: tuple[PointFacts, ...]
    uniform: tuple[PointFacts, ...]
    notes: tuple[str, ...] = ()

    def best_uniform(self) -> PointFacts | None:
        """Return the smallest file with one candidate everywhere that loses no more than allowed; None without one."""
        limit = float("inf") if self.limit_drop is None else self.limit_drop
        return next((each for each in self.uniform if each.drop <= limit), None)


def describe(
    points: BuiltPoints,
    chosen: BuiltPoint,
    unseen: BuiltPoint,
    uniform: Mapping[Candidate, Mix],
    prepared: Prepared,
    goal: Goal,
    missed: str | None,
) -> SearchReport:
    """Return the document of a search."""
    plain = frozenset(uniform.values())
    limit = goal.limit_bytes(prepared.model_bytes)
    built = sorted((point for mix, point in points.found.items() if mix in plain), key=lambda each: each.nbytes)
    return SearchReport(
        schema="dtc-search/1",
        model_bytes=prepared.model_bytes,
        loss=prepared.words,
        limit_drop=goal.max_drop,
        limit_bytes=None if limit == float("inf") else limit,
        chosen=_facts(chosen, plain),
        unseen_drop=unseen.drop,
        unseen=prepared.halves.words,
        missed=missed,
        front=tuple(_facts(point, plain) for point in points.front()),
        uniform=tuple(_facts(point, plain) for point in built),
        notes=prepared.notes,
    )


def _facts(point: BuiltPoint, plain: frozenset[Mix]) -> PointFacts:
    return PointFacts(
        words=point.words,
        sites={site: candidate.words for site, candidate in point.mix},
        bytes=point.nbytes,
        distance=point.distance,
        drop=point.drop,
        uniform=point.mix in plain,
    )
