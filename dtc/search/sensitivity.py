"""Sensitivity: what each site costs and saves with each candidate, while all others stay as they are.

Candidates are first looked at by second moments: how far the outputs of each site are off. Methods that weigh errors
otherwise, as by gradients, err more in these and cost less in the model's outputs. So each candidate is run at all its
sites at once too, and its errors are scaled to give what that costs. One that another clearly beats in bytes and in
scaled error is never the best, whatever the rest of the model does. The others are measured one at a time. What single
changes cost does not add up: small errors nearly do, those of two bits a weight come to ten times their sum. So these
losses, too, are scaled to what the candidate costs at all of the sites at once.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dtc.search.allocation import Allocation, Alternative
from dtc.search.candidate import Candidate, Mix, between, closer, mix_of
from dtc.search.tasks import ChangeAll, ChangeOne, ScanSites
from dtc.search.workers import Evaluations

MOST, FEWEST = 10, 5
"""Candidates of a site that the model is run with: the fewer the more sites there are, as errors of many even out."""

_CHANGES = 240
"""Changes of single sites in all, where each site has no fewer candidates than `FEWEST`."""

_CLEARLY = 0.7
"""A candidate is passed over if another, in no more bytes, errs less than so many times as much."""

_BEYOND = 2.0
"""Of the distance of a file at the goal, what one site alone may have: errors are known by a factor or so."""

_SPREAD = 30.0
"""How much less than its equal share of that distance a site may have, and still gain by having more."""

_FASTER = 0.95
"""Of the time of a site, that a candidate may be expected to take at the most: more is no gain."""

_SCALES = (0.3, 100.0)

_DOUBT = 0.5
"""How far the loss of a change in the company of others may be from what it loses alone, scaled, as a share of that."""

_LEAST_DOUBT = 0.1
"""The least of that, as a share of what changes lose on average."""

_MATTERS = 0.1
"""Of a loss, the error up to which it is known well enough; of many sites more, as their errors even out."""

_FEW = 10
"""Sites of which errors do not even out."""


@dataclass(frozen=True)
class SiteChoice:
    """A candidate at a site: what it takes there, and what it costs.

    Attributes:
        candidate: None: the site stays as it is.
        nbytes: In the file, without what sites share.
        cost: What is to be allotted: these bytes, or the share of the original's time that it is expected to take.
        error: Squared error of the site's own outputs, scaled to the distance of the model's.
        kind: The form, by which it shares tables and functions with other sites.
        loss: Distance of the model's outputs, scaled; 0 before it was measured.
    """

    candidate: Candidate | None
    nbytes: int
    cost: float
    error: float
    kind: str
    loss: float = 0.0


@dataclass(frozen=True)
class SiteTable:
    """All choices of all sites, from the least cost to the most, the site as it is being the last.

    Attributes:
        sites: By name.
        common: Bytes that sites of a kind share, where bytes are the cost.
    """

    sites: Mapping[str, tuple[SiteChoice, ...]]
    common: Mapping[str, float]

    def allocation(self) -> Allocation:
        """Return the problem of giving each site its choice."""
        rows = [[Alternative(each.cost, each.loss, each.kind) for each in row] for row in self.sites.values()]
        return Allocation(rows, self.common)

    def mix(self, chosen: Sequence[int]) -> Mix:
        """Return the mix of a choice of each site."""
        picked = {site: row[index].candidate for (site, row), index in zip(self.sites.items(), chosen, strict=True)}
        return mix_of({site: candidate for site, candidate in picked.items() if candidate is not None})

    def chosen(self, mix: Mix) -> list[SiteChoice]:
        """Return what each site has in a mix."""
        wanted = dict(mix)
        return [next(each for each in row if each.candidate == wanted.get(site)) for site, row in self.sites.items()]

    def has(self, mix: Mix) -> bool:
        """Return whether all choices of a mix are in the table."""
        wanted = dict(mix)
        return all(any(each.candidate == wanted.get(site) for each in row) for site, row in self.sites.items())

    def loss(self, mix: Mix) -> float:
        """Return the sum of the losses of a mix."""
        return sum(each.loss for each in self.chosen(mix))

    def cost(self, mix: Mix) -> float:
        """Return the cost of the sites in a mix, with what they share."""
        chosen = self.chosen(mix)
        return sum(each.cost for each in chosen) + sum(self.common.get(kind, 0.0) for kind in {e.kind for e in chosen})

    def candidates(self) -> list[Candidate]:
        """Return all candidates that a site may have, in the order of the sites."""
        found = (each.candidate for row in self.sites.values() for each in row)
        return list(dict.fromkeys(candidate for candidate in found if candidate is not None))

    def joined(self, other: SiteTable) -> SiteTable:
        """Return the choices of this table, and those of another one of the same sites that it does not have."""
        sites = {}
        for site, row in self.sites.items():
            own = {each.candidate for each in row}
            more = [each for each in other.sites.get(site, ()) if each.candidate not in own]
            sites[site] = tuple(sorted((*more, *row), key=lambda each: (each.candidate is None, each.cost)))
        return SiteTable(sites, self.common)

    def with_losses(self, losses: Mapping[tuple[str, Candidate | None], float]) -> SiteTable:
        """Return the table with these losses alone; choices without one are gone."""
        sites = {
            site: tuple(
                replace(each, loss=losses[site, each.candidate]) for each in row if (site, each.candidate) in losses
            )
            for site, row in self.sites.items()
        }
        return SiteTable({site: row for site, row in sites.items() if row}, self.common)


def scan(
    evaluations: Evaluations,
    candidates: Sequence[Candidate],
    dense: Mapping[str, int],
    levels: Sequence[int],
    shares: Mapping[str, float] | None = None,
) -> tuple[SiteTable, dict[Candidate, Mix]]:
    """Return the choices of each site that no other clearly beats, without losses, and the mixes of one candidate.

    `dense` are the bytes of each site as it is, `shares` the time that each takes, where time is the cost: then only
    candidates count that are expected to be faster. Candidates that take less for the same, as by Huffman codes, are
    looked at for the best of the others alone. The mixes have one candidate at all sites that it makes smaller, which
    is what one would choose by hand, those nearest to the original first; those that another clearly beats are left
    out.
    """
    found = _scanned(evaluations, candidates, levels[0])
    rows = _rows(found, dense, shares)
    best = dict.fromkeys(each.candidate for row in rows.values() for each in _unbeaten(row)) if shares is None else ()
    again = {finer: candidate for candidate in best if candidate is not None for finer in closer(candidate)}
    beside = [each for candidate in best if candidate is not None for each in between(candidate)]
    missing = [each for each in dict.fromkeys((*again, *beside)) if each not in found]
    found = _smallest(found | _scanned(evaluations, missing, levels[0]), again)
    common: dict[str, float] = {}
    everywhere: list[SiteChoice] = []
    for candidate, facts in found.items():
        if candidate in beside and candidate not in candidates:
            continue
        own = {site: each for site, each in facts["sites"].items() if site in dense}
        for each in own.values() if shares is None else ():
            common[each["kind"]] = max(common.get(each["kind"], 0.0), facts["common"])
        nbytes = sum(own[site]["bytes"] if site in own else size for site, size in dense.items()) + facts["common"]
        cost = nbytes if shares is None else sum(_time(own.get(site), share) for site, share in shares.items())
        everywhere.append(SiteChoice(candidate, nbytes, cost, facts["distance"], ""))
    rows = _rows(found, dense, shares)
    whole = {site: float(size) if shares is None else shares[site] for site, size in dense.items()}
    sites = {site: (*_unbeaten(row), SiteChoice(None, dense[site], whole[site], 0.0, "")) for site, row in rows.items()}
    if not any(rows.values()):
        return SiteTable(sites, common), {}
    return SiteTable(sites, common), {
        each.candidate: mix_of({site: each.candidate for site in dense if site in found[each.candidate]["sites"]})
        for each in sorted(_unbeaten(everywhere), key=lambda each: each.error)
        if each.candidate is not None
    }


def _scanned(evaluations: Evaluations, candidates: Sequence[Candidate], level: int) -> dict[Candidate, Any]:
    """Return what candidates make of each site, of those that make any smaller and leave outputs finite."""
    tasks = [ScanSites(candidate, level) for candidate in candidates]
    return {
        candidate: facts
        for candidate, facts in zip(candidates, evaluations.all("candidates", tasks), strict=True)
        if facts.get("sites") and math.isfinite(facts["distance"])
    }


def _smallest(found: Mapping[Candidate, Any], again: Mapping[Candidate, Candidate]) -> dict[Candidate, Any]:
    """Return what was found, but for what computes the same as another candidate, and is no smaller at any site."""

    def nbytes(candidate: Candidate) -> float:
        return float(found[candidate]["common"] + sum(each["bytes"] for each in found[candidate]["sites"].values()))

    # The plain one stays where both take as much.
    pairs = [(of, finer) for finer, of in again.items() if finer in found and of in found]
    useless = {max(pair, key=lambda each: (nbytes(each), each == pair[1])) for pair in pairs}
    return {candidate: facts for candidate, facts in found.items() if candidate not in useless}


def _time(facts: Mapping[str, Any] | None, share: float) -> float:
    """Return the share of the time that a site is expected to take with a candidate."""
    return share if facts is None else share / facts["speed"]


def _rows(
    found: Mapping[Candidate, Any], dense: Mapping[str, int], shares: Mapping[str, float] | None
) -> dict[str, list[SiteChoice]]:
    """Return the choices of each site, with errors that are scaled to what a candidate costs everywhere."""
    rows: dict[str, list[SiteChoice]] = {site: [] for site in dense}
    for candidate, facts in found.items():
        scale = facts["distance"] / (sum(each["error"] for each in facts["sites"].values()) or 1.0)
        for site in rows.keys() & facts["sites"].keys():
            each = facts["sites"][site]
            cost = each["bytes"] if shares is None else _time(each, shares[site])
            if shares is None or cost < _FASTER * shares[site]:
                rows[site].append(SiteChoice(candidate, each["bytes"], cost, scale * each["error"], each["kind"]))
    return rows


def worth_measuring(table: SiteTable, distance: float) -> SiteTable:
    """Return the choices that may be in a file whose outputs are about so far from the original's; 0: not known.

    One that alone costs more is in none, and of those that cost next to nothing the smallest is enough. Of the others
    each site has `MOST` at the most, of many sites less.
    """
    most = min(MOST, max(FEWEST, _CHANGES // len(table.sites)))
    least = distance / (_SPREAD * len(table.sites))
    sites = {}
    for site, (*row, whole) in table.sites.items():
        first = next((index for index, each in enumerate(row) if each.error < least), len(row))
        kept = [each for each in row[: first + 1] if each.error <= _BEYOND * distance or not distance] or row[-1:]
        while len(kept) > most:
            kept.pop(min(range(1, len(kept) - 1), key=lambda index: _gain(*kept[index - 1 : index + 2])))
        sites[site] = (*kept, whole)
    return SiteTable(sites, table.common)


def _unbeaten(row: Iterable[SiteChoice]) -> list[SiteChoice]:
    """Return the choices that no other clearly beats, by rising cost."""
    kept: list[SiteChoice] = []
    least = math.inf
    for each in sorted(row, key=lambda each: (each.cost, each.error)):
        if each.error * _CLEARLY <= least:
            kept.append(each)
        least = min(least, each.error)
    return kept


def _gain(smaller: SiteChoice, between: SiteChoice, larger: SiteChoice) -> float:
    """Return how far a choice lies below the line between its neighbours, in costs and logarithms of errors.

    There codes of more and more bits lie on a line, as each bit takes errors down by the same factor.
    """
    a, b, c = (math.log(max(each.error, 1e-12)) for each in (smaller, between, larger))
    share = (between.cost - smaller.cost) / (larger.cost - smaller.cost) if larger.cost > smaller.cost else 0.5
    return a + share * (c - a) - b


def measured(evaluations: Evaluations, table: SiteTable, levels: Sequence[int]) -> SiteTable:
    """Return the table with the losses of single changes, scaled to add up."""
    pairs = [(site, each.candidate) for site, row in table.sites.items() for each in row if each.candidate is not None]
    found = dict(zip(pairs, _changes(evaluations, pairs, (), levels), strict=True))
    scales = _scales(
        evaluations, table, {pair: facts["distance"] for pair, facts in found.items() if "distance" in facts}, levels[0]
    )
    losses: dict[tuple[str, Candidate | None], float] = {(site, None): 0.0 for site in table.sites}
    for (site, candidate), facts in found.items():
        if math.isfinite(facts.get("distance", math.inf)):
            losses[site, candidate] = facts["distance"] * scales.get(candidate, 1.0)
    return table.with_losses(losses)


def around(evaluations: Evaluations, table: SiteTable, base: Mix, levels: Sequence[int], reach: int) -> SiteTable:
    """Return the choices near those of a mix, with their losses in its company.

    `table` has the losses alone, and `reach` is how many steps of bytes a choice may be away from the present one.
    Losses are counted from the least of each site, so that none is negative.
    """
    pairs = []
    present = dict(zip(table.sites, table.chosen(base), strict=True))
    for site, row in table.sites.items():
        index = row.index(present[site])
        pairs += [(site, each) for each in row[max(index - reach, 0) : index + reach + 1]]
    tasks = [(site, choice.candidate) for site, choice in pairs]
    found = dict(zip(tasks, _changes(evaluations, tasks, base, levels), strict=True))
    steps = [
        Step(
            (site, choice.candidate),
            facts["distance"] - now["distance"],
            _error_between(facts, now),
            choice.loss - present[site].loss,
        )
        for site, choice in pairs
        if math.isfinite((facts := found[site, choice.candidate]).get("distance", math.inf))
        if math.isfinite((now := found[site, present[site].candidate]).get("distance", math.inf))
    ]
    losses = in_company(steps)
    least = {site: min(losses[pair] for pair in losses if pair[0] == site) for site, _ in losses}
    return table.with_losses({pair: loss - least[pair[0]] for pair, loss in losses.items()})


@dataclass(frozen=True)
class Step:
    """Another choice at one site of a mix.

    Attributes:
        pair: The site, and its candidate.
        found: What the mix loses more with it, on some samples.
        error: Standard error of that.
        alone: What the site alone loses more with it than with its present choice.
    """

    pair: tuple[str, Candidate | None]
    found: float
    error: float
    alone: float


def in_company(steps: Sequence[Step]) -> dict[tuple[str, Candidate | None], float]:
    """Return what each step costs in the company of a mix: as samples tell, and as far as they do not, as alone.

    Of many choices those look best that were lucky with the samples. What they lose alone is known better, as nothing
    else is lost there, and in company it is about so many times as much for all of them.
    """
    told = [each for each in steps if each.error > 0]
    weight = sum((each.alone / each.error) ** 2 for each in told)
    scale = sum(each.found * each.alone / each.error**2 for each in told) / weight if weight > 0 else 0.0
    scale = max(scale, 0.0)
    typical = statistics.fmean(abs(scale * each.alone) for each in told) if told else 0.0
    losses = {}
    for each in steps:
        expected = scale * each.alone
        doubt = _DOUBT * max(abs(expected), _LEAST_DOUBT * typical)
        share = doubt**2 / (doubt**2 + each.error**2) if doubt > 0 else 1.0
        losses[each.pair] = share * each.found + (1 - share) * expected
    return losses


def _changes(
    evaluations: Evaluations, pairs: Sequence[tuple[str, Candidate | None]], base: Mix, levels: Sequence[int]
) -> list[dict[str, Any]]:
    """Return what single changes cost, on more samples where two candidates of a site are too close to tell.

    In a mix all are close, next to what the mix costs itself: there, more samples are taken from the first.
    """
    if base:
        level = levels[min(1, len(levels) - 1)]
        # The mix as it is, whichever site is named with its present candidate: it is run once.
        same = [pair for pair in pairs if pair in {*base}]
        return evaluations.all(
            "sites in the mix", [ChangeOne(*(same[0] if pair in same else pair), base, level) for pair in pairs]
        )
    stage = "sites alone"
    found = evaluations.all(stage, [ChangeOne(site, candidate, base, levels[0]) for site, candidate in pairs])
    for level in levels[1:3]:
        unclear = _unclear(pairs, found)
        again = evaluations.all(f"{stage}, closer", [ChangeOne(*pairs[index], base, level) for index in unclear])
        for index, facts in zip(unclear, again, strict=True):
            found[index] = facts
    return found


def _unclear(pairs: Sequence[tuple[str, Candidate | None]], found: Sequence[dict[str, Any]]) -> list[int]:
    """Return which changes are nearer to the next one of the same site than their errors tell apart.

    Where the errors are small next to the losses, either is as good.
    """
    matters = _MATTERS * math.sqrt(max(1.0, len({site for site, _ in pairs}) / _FEW))
    unclear: set[int] = set()
    for index in range(1, len(pairs)):
        one, other = found[index - 1], found[index]
        if pairs[index - 1][0] != pairs[index][0] or "refused" in one or "refused" in other:
            continue
        error = _error_between(one, other)
        if max(abs(one["distance"] - other["distance"]), matters * other["distance"]) < error:
            unclear |= {index - 1, index}
    return sorted(unclear)


def _error_between(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Return the standard error of the difference of two losses: sample by sample where these are the same."""
    count = len(one["parts"])
    if one["rows"] != other["rows"] or count < 2 or count != len(other["parts"]):
        return math.hypot(one["deviation"], other["deviation"])
    apart = [a - b for a, b in zip(one["parts"], other["parts"], strict=True)]
    return math.sqrt(count * statistics.variance(apart))


def _scales(
    evaluations: Evaluations, table: SiteTable, alone: Mapping[tuple[str, Candidate | None], float], level: int
) -> dict[Candidate | None, float]:
    """Return by how much each candidate's losses at all sites at once exceed their sum, where that was measured."""
    mixes = {
        candidate: mix_of(
            {site: candidate for site, row in table.sites.items() if any(each.candidate == candidate for each in row)}
        )
        for candidate in table.candidates()
    }
    found = evaluations.all("one candidate at many sites", [ChangeAll(mix, level) for mix in mixes.values()])
    scales: dict[Candidate | None, float] = {}
    for (candidate, mix), facts in zip(mixes.items(), found, strict=True):
        total = sum(alone.get((site, candidate), 0.0) for site, _ in mix)
        if len(mix) > 1 and total > 0 and math.isfinite(facts.get("distance", math.inf)):
            scales[candidate] = min(max(facts["distance"] / total, _SCALES[0]), _SCALES[1])
    middle = sorted(scales.values())[len(scales) // 2] if scales else 1.0
    return {candidate: scales.get(candidate, middle) for candidate in table.candidates()}
