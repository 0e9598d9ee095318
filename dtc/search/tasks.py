"""Evaluations as tasks: each is known by a key, which holds all that its outcome depends on beside the setting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from dtc.errors import DtcError
from dtc.search.candidate import Candidate, Mix
from dtc.search.lab import Lab


class Task(Protocol):
    """One evaluation."""

    @property
    def key(self) -> str:
        """What the journal knows it by."""
        ...

    def run(self, lab: Lab) -> dict[str, Any]:
        """Return what was found, as JSON takes it."""
        ...


@dataclass(frozen=True)
class ScanSites:
    """What a candidate makes of each site, and of the model when it is at all of them."""

    candidate: Candidate
    batches: int

    @property
    def key(self) -> str:
        """What the journal knows it by."""
        return key_of("scan", self.candidate.words, self.batches)

    def run(self, lab: Lab) -> dict[str, Any]:
        """Return bytes and errors by site, and the distance."""
        return lab.scan(self.candidate, self.batches)


@dataclass(frozen=True)
class ChangeOne:
    """The loss when one site alone is changed, in a model whose other sites are as in a mix."""

    site: str
    candidate: Candidate | None
    base: Mix
    batches: int

    @property
    def key(self) -> str:
        """What the journal knows it by."""
        candidate = None if self.candidate is None else self.candidate.words
        return key_of("one", self.site, candidate, words_of(self.base), self.batches)

    def run(self, lab: Lab) -> dict[str, Any]:
        """Return the loss."""
        return lab.changed({self.site: self.candidate}, self.base, self.batches).facts()


@dataclass(frozen=True)
class ChangeAll:
    """The loss of a mix, in memory: what its file has, but for what is rounded there."""

    mix: Mix
    batches: int

    @property
    def key(self) -> str:
        """What the journal knows it by."""
        return key_of("all", words_of(self.mix), self.batches)

    def run(self, lab: Lab) -> dict[str, Any]:
        """Return the loss."""
        return lab.changed(dict(self.mix), (), self.batches).facts()


@dataclass(frozen=True)
class BuildMix:
    """The file of a mix: its bytes and its loss, on the samples that the search decides by or on unseen ones."""

    mix: Mix
    batches: int
    unseen: bool = False
    timed: bool = False

    @property
    def key(self) -> str:
        """What the journal knows it by."""
        timed = ["timed"] if self.timed else []
        return key_of("unseen" if self.unseen else "build", words_of(self.mix), self.batches, *timed)

    def run(self, lab: Lab) -> dict[str, Any]:
        """Return the bytes, the loss, and the latency where it is asked for."""
        return lab.build(self.mix, self.batches, unseen=self.unseen, timed=self.timed)


@dataclass(frozen=True)
class TimeSites:
    """Which share of the time of a run each site takes."""

    @property
    def key(self) -> str:
        """What the journal knows it by."""
        return key_of("times")

    def run(self, lab: Lab) -> dict[str, Any]:
        """Return the share of each site."""
        return lab.site_shares()


def outcome(task: Task, lab: Lab) -> dict[str, Any]:
    """Return what a task found, or why it is refused: a candidate that cannot be is no error of the search."""
    try:
        return task.run(lab)
    except DtcError as error:
        return {"refused": str(error)}


def words_of(mix: Mix) -> dict[str, str]:
    """Return the candidate of each site in words."""
    return {site: candidate.words for site, candidate in mix}


def key_of(*parts: Any) -> str:
    """Return the key of an evaluation."""
    return json.dumps(parts, separators=(",", ":"))
