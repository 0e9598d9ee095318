"""The check site by site: each compressed weight runs alone in ONNX Runtime, beside the dense weight that it means.

Nothing but the arrays of some sites is in memory at a time, so that a model of any size is checked. The dense weight is
what `dense()` of a site's forms gives in NumPy; what decodes it in the file, and what computes with it, is the file's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.checking.differences import Comparison
from dtc.checking.sites.drawing import UndrawnError, draw
from dtc.checking.sites.excerpt import Excerpt
from dtc.checking.sites.regions import Region, Regions
from dtc.document import DocumentPart, Real
from dtc.errors import DataError, ModelError
from dtc.graph.inference import KnownValues
from dtc.session import UNFOLDED

_TOGETHER = 32_000_000
"""Bytes of dense weights that are checked in one session: opening one takes longer than a small site does."""

_PIECE = 1 << 20
"""Elements that are compared at once: a comparison computes in float64."""

_NATIVE = 1 << 25
"""Bytes of a dense weight from which native kernels compute with it, where there are any: a function in standard
operators holds each bit of a code as a float, several times the weight. What is smaller runs by functions."""

_ONCE = {"session.disable_prepacking": "1", **UNFOLDED}
"""A weight is decoded and multiplied once: a second copy of it is not worth it, and what decodes it runs on all cores
and lets go of what lies between, where folding would run it on one and hold everything to its end."""


class SiteChecks(DocumentPart):
    """The check of compressed sites one by one.

    Attributes:
        checked_by_site: How many ran alone, beside their dense weights.
        relative_l2: The largest difference of an output, or of a decoded weight; None where none ran.
        not_checked: Why a site could not be run alone, by site.
    """

    checked_by_site: int
    relative_l2: Real | None
    not_checked: dict[str, str]

    @property
    def words(self) -> str:
        """What was checked, in a line."""
        told = f"sites one by one, {self.checked_by_site} of {self.checked_by_site + len(self.not_checked)}"
        worst = "" if self.relative_l2 is None else f": at most {self.relative_l2:.1e} relative L2"
        return f"{told} against their dense weights{worst}"


@dataclass(frozen=True)
class Limit:
    """What a site may differ by in relative L2, and why, in words; empty for the rounding of floats."""

    relative_l2: float
    because: str = ""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is checked.

    Attributes:
        dense: The model before it was lowered, with the weights that the forms of sites stand for.
        nbytes: Bytes of these weights, by site.
        limits: By site.
    """

    dense: ir.Model
    nbytes: Mapping[str, int]
    limits: Mapping[str, Limit]


@dataclass
class _Found:
    largest: float | None = None
    failures: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


class SitesCheck:
    """Runs regions of two models, many small ones or a large one at a time.

    Args:
        subject: The dense side.
        file: The lowered model, as its file was loaded.
        seed: Of the numbers that enter.
    """

    def __init__(self, subject: Subject, file: ir.Model, *, seed: int) -> None:
        self._subject, self._file = subject, file
        self._known = KnownValues(subject.dense)
        self._rng = np.random.default_rng(seed)
        self._found = _Found()

    def run(self, regions: Regions) -> tuple[SiteChecks, tuple[str, ...]]:
        """Return what was found, and in words which sites are something else in the file.

        `regions` are of the dense model and of the loaded file.
        """
        for together in self._batches(regions.found):
            self._check(together)
        missing = {**regions.missing, **self._found.missing}
        checked = self._subject.limits.keys() - missing.keys()
        facts = SiteChecks(checked_by_site=len(checked), relative_l2=self._found.largest, not_checked=missing)
        return facts, tuple(dict.fromkeys(self._found.failures))

    def _batches(self, regions: Sequence[Region]) -> Iterator[list[Region]]:
        """Yield regions to be checked in one session each, smaller ones first."""
        batch: list[Region] = []
        filled = 0
        for region in sorted(regions, key=self._bytes):
            size = self._bytes(region)
            if batch and filled + size > _TOGETHER:
                yield batch
                batch, filled = [], 0
            batch.append(region)
            filled += size
        if batch:
            yield batch

    def _bytes(self, region: Region) -> int:
        return sum(self._subject.nbytes[name] for name in region.sites)

    def _check(self, regions: Sequence[Region]) -> None:
        """Check regions in one session; where that is refused, each by itself, to find out which it is."""
        drawn = {region: feed for region in regions if (feed := self._feed(region)) is not None}
        if not drawn:
            return
        try:
            wanted = self._run_dense(drawn)
        except (ModelError, DataError) as error:
            if self._each_alone(regions):
                return
            self._miss(regions[0], f"it does not run alone: {error}")
            return
        try:
            found = self._run_lowered(drawn)
        except (ModelError, DataError) as error:
            if not self._each_alone(regions):
                self._found.failures.append(f"site {regions[0].sites[0]!r} does not run in the file: {error}")
            return
        for region in drawn:
            self._compare(region, wanted.pop(0), found.pop(0))

    def _each_alone(self, regions: Sequence[Region]) -> bool:
        if len(regions) < 2:
            return False
        for region in regions:
            self._check([region])
        return True

    def _feed(self, region: Region) -> dict[ir.Value, Any] | None:
        try:
            return draw(region, self._known.of, self._rng)
        except UndrawnError as error:
            self._miss(region, str(error))
            return None

    def _miss(self, region: Region, reason: str) -> None:
        self._found.missing |= dict.fromkeys(region.sites, reason)

    def _run_dense(self, drawn: Mapping[Region, Mapping[ir.Value, Any]]) -> list[list[Any]]:
        cones = [region.dense for region in drawn]
        excerpt = Excerpt(self._subject.dense, cones, list(drawn.values()))
        return excerpt.run("the dense weights", settings=_ONCE, native=False)

    def _run_lowered(self, drawn: Mapping[Region, Mapping[ir.Value, Any]]) -> list[list[Any]]:
        feeds = [{other: feed[value] for value, other in region.inputs} for region, feed in drawn.items()]
        excerpt = Excerpt(self._file, [region.lowered for region in drawn], feeds)
        native = any(self._bytes(region) >= _NATIVE for region in drawn)
        return excerpt.run("the file to write", settings=_ONCE, native=native)

    def _compare(self, region: Region, wanted: Sequence[Any], found: Sequence[Any]) -> None:
        comparison = Comparison()
        for place, (left, right) in enumerate(zip(wanted, found, strict=True)):
            for piece, other in _pieces(left, right):
                comparison.update({str(place): piece}, {str(place): other})
        differences = [each.relative_l2 for each in comparison.differences()]
        limit = max((self._subject.limits[name] for name in region.sites), key=lambda limit: limit.relative_l2)
        worst = max(differences, default=0.0)
        named = " and ".join(map(repr, region.sites))
        if comparison.problems:
            told = comparison.problems[0].removeprefix("output ").partition(" ")[2]
            self._found.failures.append(f"site {named}, run alone, {told}")
        elif not worst <= limit.relative_l2:
            because = f" ({limit.because})" if limit.because else ""
            self._found.failures.append(
                f"site {named}, run alone, differs by {worst:.3g} from its dense weight (relative L2), "
                f"{limit.relative_l2:.3g} allowed{because}"
            )
        elif comparison.vacuous():
            self._miss(region, "its dense weight gives no finite number")
        self._found.largest = max(worst, self._found.largest or 0.0)


def _pieces(left: Any, right: Any) -> Iterator[tuple[Any, Any]]:
    """Yield two arrays of one shape and type piece by piece; others as they are."""
    if left.size <= _PIECE or left.shape != right.shape or left.dtype != right.dtype:
        yield left, right
        return
    first, second = left.reshape(-1), right.reshape(-1)
    for start in range(0, first.size, _PIECE):
        yield first[start : start + _PIECE], second[start : start + _PIECE]
