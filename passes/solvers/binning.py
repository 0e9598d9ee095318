"""The bins of Bin & Quant, and the choice of the bin that is split next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from dtc.forms import Array
from dtc.forms.index_fields import bits_for
from dtc.passes.method import Probe, Weights
from dtc.passes.solvers.clustering import MANY_SCALARS, Labels, Points, condensed

Edges = npt.NDArray[np.float64]

_AT_ONCE = 1 << 18
"""Weights put into bins at once."""


class Limits(Protocol):
    """The limits that `split_best` reads from a method's options."""

    @property
    def bins(self) -> int:
        """Most bins of a list."""
        ...

    @property
    def perturb(self) -> float:
        """Share by which a bin's weights are moved."""
        ...

    @property
    def split_until(self) -> float | None:
        """Loss against the model's own metric at which to stop."""
        ...

    @property
    def max_bits(self) -> float | None:
        """Bits of an index, on average over all weights, at which to stop."""
        ...


@dataclass(frozen=True, eq=False)
class Member:
    """A site with the kept weights that are binned, in units of `gain`."""

    weights: Weights
    gain: np.float32
    values: Array

    @classmethod
    def of(cls, w: Weights, *, scaled: bool) -> Member:
        """Return the site, its weights divided by their standard deviation if `scaled`."""
        values = w.matrices.ravel() if w.mask is None else w.matrices[w.mask]
        deviation = float(values.std(dtype=np.float64)) if scaled and values.size else 0.0
        return (
            cls(w, np.float32(deviation), values / np.float32(deviation))
            if deviation > 0
            else cls(w, np.float32(1), values)
        )

    @cached_property
    def _few(self) -> Points | None:
        """Many values as the means of those that are nearly the same, each with their number; None where few."""
        return condensed(Points(self.values[:, None])) if self.values.size >= MANY_SCALARS else None

    @cached_property
    def rising(self) -> Array:
        """The values in rising order: a bin is a range of them."""
        return np.sort(self.values if self._few is None else self._few.blocks.ravel())

    @cached_property
    def running(self) -> npt.NDArray[np.float64]:
        """Running numbers of the rising values, sums of them, and of their squares, `[3, values + 1]`."""
        wide = self.rising.astype(np.float64)
        if self._few is None or self._few.importance is None:
            each = np.array([np.ones_like(wide), wide, wide**2])
        else:
            counts = self._few.importance.ravel()[np.argsort(self._few.blocks.ravel())].astype(np.float64)
            each = counts * np.array([np.ones_like(wide), wide, wide**2])
        return np.concatenate([np.zeros((3, 1)), np.cumsum(each, axis=1)], axis=1)

    def bounds(self, edges: Edges) -> Labels:
        """Return where each bin begins among the rising values, and where the last one ends."""
        # Edges (0, 2, 5) and rising values (0, 1, 2, 4): bounds (0, 2, 4). A value that is an edge belongs to the bin
        # above.
        inner = np.searchsorted(self.rising, edges[1:-1].astype(np.float32), side="left")
        return np.concatenate([[0], inner, [self.rising.size]])

    def matrices(self, values: Array) -> Array:
        """Return values of the kept weights as the site's matrices."""
        if self.weights.mask is None:
            return (values * self.gain).reshape(self.weights.matrices.shape)
        matrices = np.zeros_like(self.weights.matrices)
        matrices[self.weights.mask] = values * self.gain
        return matrices


@dataclass(frozen=True, eq=False)
class Bins:
    """A list of half-open bins (the last one closed) for the weights of one site, or of several together.

    Attributes:
        members: The sites.
        edges: Rising, float64 `[bins + 1]`, each of them a float32 number as the weights are.
        representative: What stands for the weights of a bin.
        sensitivity: Of each bin; -inf where it cannot be split.
    """

    members: tuple[Member, ...]
    edges: Edges
    representative: Literal["mean", "midpoint"]
    sensitivity: tuple[float, ...] = ()

    @classmethod
    def start(cls, members: Sequence[Member], representative: Literal["mean", "midpoint"]) -> Bins:
        """Return four bins: `[min, mean - deviation, mean, mean + deviation, max]`; fewer where these coincide."""
        if not any(member.values.size for member in members):
            return cls(tuple(members), np.zeros(2), representative)
        low, high, mean, deviation = _extent([member.values for member in members])
        inner = np.array([mean - deviation, mean, mean + deviation])
        # Edges are rounded to float32 before they are compared, as weights are float32; where two coincide a bin goes.
        edges = np.unique(np.array([low, *inner[(inner > low) & (inner < high)], high], np.float32)).astype(np.float64)
        return cls(tuple(members), edges if len(edges) > 1 else np.repeat(edges, 2), representative)

    @property
    def size(self) -> int:
        """Weights in all bins."""
        return sum(member.values.size for member in self.members)

    def labels(self, member: Member) -> npt.NDArray[np.uint16]:
        """Return the bin of each kept weight."""
        inner, found = self.edges[1:-1].astype(np.float32), np.empty(member.values.size, np.uint16)
        for start in range(0, found.size, _AT_ONCE):
            span = slice(start, start + _AT_ONCE)
            found[span] = np.searchsorted(inner, member.values[span], side="right")
        return found

    @cached_property
    def _sums(self) -> npt.NDArray[np.float64]:
        """Number, sum and sum of squares of each bin's weights, `[3, bins]`."""
        total = np.zeros((3, len(self.edges) - 1))
        for member in self.members:
            # Sorted values and running sums: a bin's sum is the difference of two numbers, whatever its size.
            total += np.diff(member.running[:, member.bounds(self.edges)], axis=1)
        return total

    def counts(self) -> npt.NDArray[np.intp]:
        """Return how many weights each bin has."""
        return np.asarray(self._sums[0], dtype=np.intp)

    def representatives(self) -> Array:
        """Return the representative of each bin, float32 `[bins]`; an empty bin has its middle."""
        middles = (self.edges[1:] + self.edges[:-1]) / 2
        if self.representative == "midpoint":
            return middles.astype(np.float32)
        counts, sums, _ = self._sums
        return np.where(counts > 0, sums / np.maximum(counts, 1), middles).astype(np.float32)

    def dense(self) -> dict[str, Array]:
        """Return the matrices of every member, each weight replaced by its representative."""
        table = self.representatives()
        return {m.weights.site: m.matrices(table[self.labels(m)]) for m in self.members}

    def errors(self) -> npt.NDArray[np.float64]:
        """Return each bin's share of the squared error, as a part of the squared weights."""
        counts, sums, squares = self._sums
        table = self.representatives().astype(np.float64)
        # The sum of (w - r)^2 over a bin is sum w^2 - 2 r sum w + r^2 count; rounding may take it just below 0.
        errors = np.maximum(squares - 2 * table * sums + table**2 * counts, 0)
        return np.asarray(errors / (float(squares.sum()) or 1.0))

    def perturbed(self, index: int, factor: float) -> dict[str, Array]:
        """Return the original matrices of every member, the weights of one bin multiplied."""
        return {
            m.weights.site: m.matrices(np.where(self.labels(m) == index, m.values * np.float32(factor), m.values))
            for m in self.members
        }

    def splittable(self, index: int) -> bool:
        """True if the bin has more than one value, and room for an edge between them."""
        # 1. As float32 the middle is one of the edges: no number lies between them.
        if not self.edges[index] < self._middle(index) < self.edges[index + 1]:
            return False
        # 2. All weights of the bin are equal, or there are none.
        ends = []
        for member in self.members:
            first, last = member.bounds(self.edges)[index : index + 2]
            ends += [member.rising[first], member.rising[last - 1]] if first < last else []
        return bool(ends) and min(ends) < max(ends)

    def _middle(self, index: int) -> float:
        return float(np.float32((self.edges[index] + self.edges[index + 1]) / 2))

    def measured(self, sense: Sense, fresh: Sequence[int] | None = None) -> Bins:
        """Return the bins with the sensitivity of all, or of the fresh ones, measured."""
        chosen = range(len(self.edges) - 1) if fresh is None else fresh
        # A list's first measurement has all bins; later ones change those of the two halves of a split.
        known = list(self.sensitivity) or [0.0] * len(chosen)
        for index, found in zip(chosen, sense(self, list(chosen)), strict=True):
            known[index] = found if self.splittable(index) else -np.inf
        return replace(self, sensitivity=tuple(known))

    def split(self, index: int) -> Bins:
        """Return the bins with one split in its middle; the halves' sensitivities are still unknown."""
        sensitivity = (*self.sensitivity[:index], 0.0, 0.0, *self.sensitivity[index + 1 :])
        return replace(self, edges=np.insert(self.edges, index + 1, self._middle(index)), sensitivity=sensitivity)


def _extent(parts: Sequence[Array]) -> tuple[np.float64, np.float64, np.float64, np.float64]:
    """Return the least and the largest of all values, their mean and their deviation."""
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if values.size < MANY_SCALARS:
        values = values.astype(np.float64)
    mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    return np.float64(values.min()), np.float64(values.max()), mean, deviation


FIRST_BINS = 4
"""Bins that a list begins with, at the most."""


class Sense(Protocol):
    """Measures how sensitive bins are."""

    def __call__(self, bins: Bins, which: list[int]) -> list[float]:
        """Return the sensitivity of the given bins."""
        ...


def split_best(lists: Sequence[Bins], limits: Limits, probe: Probe | None) -> list[Bins]:
    """Split bins, the most sensitive first, until a limit is reached.

    Of several lists, the one goes first whose most sensitive bin is so by most for the bits that another bin adds.
    Where a limit to the drop is never met, the state of the best score is returned.
    """
    sense = _by_error if probe is None else _by_probe(probe, limits.perturb)
    state = [bins.measured(sense) for bins in lists]
    best, least = list(state), np.inf
    target = None if probe is None or limits.split_until is None else probe({}) + limits.split_until
    # Each round: measure the whole model where its drop is limited, stop or split one bin, measure the two halves.
    while True:
        if target is not None and probe is not None:
            score = probe({site: dense for bins in state for site, dense in bins.dense().items()})
            # A finer state may score worse by chance: the best one is kept.
            if score < least:
                best, least = list(state), score
            if score <= target:
                return best
        chosen = _next(state, limits)
        if chosen is None:
            return state if target is None else best
        bins = state[chosen]
        index = int(np.argmax(bins.sensitivity))
        state[chosen] = bins.split(index).measured(sense, [index, index + 1])


def _next(state: Sequence[Bins], limits: Limits) -> int | None:
    """Return the number of the list that is worth the next bin; None where a limit stops all lists."""
    # Empty bins cost nothing: they get no codeword, and indices are of the width that the filled ones need.
    filled = [max(1, int((bins.counts() > 0).sum())) for bins in state]
    total = sum(bins.size for bins in state)
    spent = sum(bins.size * bits_for(count) for bins, count in zip(state, filled, strict=True))
    worth = []
    for bins, count in zip(state, filled, strict=True):
        after = spent + bins.size * (bits_for(count + 1) - bits_for(count))
        fits = limits.max_bits is None or after <= limits.max_bits * total
        # The limit counts whole bits of an index. Worth counts their logarithm instead: in whole bits only the splits
        # to 5, 9, 17, ... bins would cost anything. 32 bits are the new representative.
        added = bins.size * np.log2((count + 1) / count) + 32
        worth.append(max(bins.sensitivity) / added if fits and count < limits.bins else -np.inf)
    best = int(np.argmax(worth)) if worth else 0
    return best if worth and worth[best] > -np.inf else None


def _by_error(bins: Bins, which: list[int]) -> list[float]:
    """Sensitivity without a model to run: a bin's squared error, relative to the weights."""
    errors = bins.errors()
    return [float(errors[index]) for index in which]


def _by_probe(probe: Probe, share: float) -> Sense:
    """Sensitivity of the model: its mean score with a bin's weights moved up and down, above its own score."""
    own = probe({})

    def sense(bins: Bins, which: list[int]) -> list[float]:
        pairs = [(probe(bins.perturbed(i, 1 + share)), probe(bins.perturbed(i, 1 - share))) for i in which]
        return [(up + down) / 2 - own for up, down in pairs]

    return sense
