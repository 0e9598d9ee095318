"""What a search has found, as the document that `dtc search --json` prints and `report.json` holds."""

from __future__ import annotations

import glob
import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from dtc.document import Document, DocumentPart, Real


class PointFacts(DocumentPart):
    """A file that was built and measured.

    Attributes:
        words: What it is made of: each candidate with its number of sites.
        sites: The candidate of each site, in words; sites that stay as they are are not in it.
        bytes: Bytes of the file.
        distance: Mean distance of the outputs from the original's, on the samples that the search decided by.
        drop: What the metric loses there, in its own unit; without labels see `SearchReport.loss`.
        error: Standard error of the drop, of both models on the same samples.
        samples: How many samples, or blocks of a stream, told the drop and its error.
        latency: Time of a run as a share of the original's; null where it was not limited.
        reaches: Whether it keeps the goal there, its uncertainty counted.
        refused: Whether it did not keep it on samples that the search has not seen.
        uniform: Whether it has one candidate at all sites.
        retrained: Whether it was retrained.
    """

    words: str
    sites: Mapping[str, str]
    bytes: int
    distance: Real
    drop: Real
    error: Real = math.nan
    samples: int = 0
    latency: float | None = None
    reaches: bool = False
    refused: bool = False
    uniform: bool
    retrained: bool = False


class CandidateFacts(DocumentPart):
    """A method at a rate, as a rule of a recipe has it."""

    method: str
    options: Mapping[str, Any]


class SearchedSite(DocumentPart):
    """What a site saves and costs in the file that was written.

    Attributes:
        name: Of the site.
        candidate: In words; None: it stays as it is.
        before: Bytes as it is.
        after: Bytes in the file, without what sites share; null where they were not looked at alone.
        distance: Of the outputs when this site alone is changed, scaled so that those of all sites add up; null where
            that was not measured.
    """

    name: str
    candidate: str | None
    before: int
    after: int | None
    distance: float | None


class SearchReport(Document):
    """What a search has found.

    Attributes:
        model_bytes: Bytes of the model's files.
        loss: What is lost, in words: the metric, or how outputs are compared.
        limit_drop: The most that may be lost; None: it was not limited.
        limit_bytes: The most bytes of the file; None: they were not limited.
        limit_latency: The most time of a run, as a share of the original's; None: it was not limited.
        latency: What the written file takes of it, measured once more; None: time was not limited.
        chosen: The file that was written.
        unseen_drop: What that loses on samples that the search has not seen.
        unseen_error: Standard error of that, of both models on the same samples.
        unseen_samples: How many samples, or blocks of a stream, told both.
        unseen: Which samples these are.
        missed: By what it misses the goal, in words; None: it reaches it.
        front: The files that none beats in bytes (in time, where that is limited) and distance, from the smallest on.
        uniform: The files with one candidate everywhere, from the smallest on.
        retrained: The files of mixes that were retrained.
        candidates: What the words of candidates stand for, of all that are in these files.
        sites: What each site saves and costs in the file that was written.
        notes: What is to be known beside.
    """

    schema_: Literal["dtc-search/1"] = Field("dtc-search/1", alias="schema")
    model_bytes: int
    loss: str
    limit_drop: float | None
    limit_bytes: float | None
    limit_latency: float | None = None
    latency: float | None = None
    chosen: PointFacts
    unseen_drop: Real
    unseen_error: Real = math.nan
    unseen_samples: int = 0
    unseen: str
    missed: str | None
    front: tuple[PointFacts, ...]
    uniform: tuple[PointFacts, ...]
    retrained: tuple[PointFacts, ...] = ()
    candidates: Mapping[str, CandidateFacts]
    sites: tuple[SearchedSite, ...]
    notes: tuple[str, ...] = ()

    def best_uniform(self) -> PointFacts | None:
        """Return the smallest file with one candidate everywhere that reaches the goal; None without one."""
        return next((each for each in self.uniform if each.reaches), None)

    def fate(self, point: PointFacts) -> str:
        """Return what became of a file, in a word: it was written, or refused by unseen samples; empty otherwise."""
        return "written" if point == self.chosen else "refused" if point.refused else ""

    def rules(self, point: PointFacts) -> list[dict[str, Any]]:
        """Return the rules of a recipe that gives a file: one for each of its candidates, with its sites."""
        sites: dict[str, list[str]] = {}
        for site, words in point.sites.items():
            sites.setdefault(words, []).append(site)
        return [
            {**self.candidates[words].model_dump(), "include": [glob.escape(site) for site in sites[words]]}
            for words in sorted(sites)
        ]
