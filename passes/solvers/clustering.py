"""Weighted k-means for codebooks: of scalars by sorting, of blocks by matrix products.

S. Lloyd, Least squares quantization in PCM, 1982; D. Arthur, S. Vassilvitskii, k-means++, 2007; empty clusters are
split as in P. Stock et al., And the bit goes down, 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy

from dtc.device_arrays import DeviceArray, beside, namespace, on_host
from dtc.forms import Array

Labels = npt.NDArray[np.intp]

MAX_ITERATIONS = 100
TOLERANCE = 1e-5
"""Share by which the objective has to fall in an iteration; once it falls by less, Lloyd's iteration ends."""

_MANY_TOLERANCE = 3e-4
"""The same where points are many: 12 passes over a 1500x6000 matrix, 0.5 % above 100 iterations of scikit-learn."""

_SMALL_PRODUCT = 2**18
"""Multiplications of a matrix product that OpenBLAS keeps in one thread; below it, a chunk of distances stays in the
cache and no thread waits for another (several times faster than large products on a machine that is busy)."""

_SMALLEST_CHUNK, _LARGE_CHUNK = 32, 1024
"""Points whose distances are computed at once where the codewords are too many for a small product."""

_SAMPLE = 256
"""Points a codeword that a first clustering looks at."""

_CELLS = 16
"""Cells a codeword into which scalars are cut to find a start."""

MANY_SCALARS = 1 << 22
"""Scalars from which on they are clustered as a million means of those that are nearly the same."""

_KEY_BITS = 20
"""First bits of a float32, sign and exponent included, by which scalars are nearly the same."""

_AT_ONCE = 1 << 18
"""Points worked on at once where nothing has to be known of all."""

_MAX_EXACT = 64
"""Codewords up to which the best clusters of cells are sought: a tenth of a second."""

_MAX_SEEDED = 1024
"""Codewords up to which k-means++ is worth its time; above, random distinct points are as good."""


@dataclass(frozen=True, eq=False)
class Points:
    """Blocks to cluster, in host memory; those of `device_clustering` lie on a device.

    Attributes:
        blocks: float32 `[n, block]`.
        importance: float32 `[n, block]`, how much each number counts in its centroid; None: all the same.
        distance: float32 `[n, block]`, how much each number counts in the assignment; None: all the same.
    """

    blocks: DeviceArray
    importance: DeviceArray | None = None
    distance: DeviceArray | None = None

    def take(self, which: Labels | slice) -> Points:
        """Return some of the points."""
        parts = (self.blocks, self.importance, self.distance)
        blocks, importance, distance = (None if part is None else part[which] for part in parts)
        assert blocks is not None
        return Points(blocks, importance, distance)

    @cached_property
    def left(self) -> Array:
        """The points' side of the product that gives all distances, see `assign`."""
        if self.distance is None:
            return np.concatenate([self.blocks, np.ones((len(self.blocks), 1), np.float32)], axis=1)
        return np.concatenate([self.distance * self.blocks, self.distance], axis=1)

    @cached_property
    def energy(self) -> float:
        """The sum of the weighted squares."""
        weights = 1.0 if self.distance is None else self.distance
        return float((weights * np.square(self.blocks)).sum(dtype=np.float64))


def assign(points: Points, codewords: Array) -> tuple[Labels, float]:
    """Return each point's nearest codeword, and the sum of their weighted squared distances.

    The distance of `x` with weights `s` to `c` is `sum s x^2 - 2 (s x) c + s c^2`: but for the first term, that is the
    same for all codewords, one matrix product of `[s x, s]` and `[-2 c, c^2]`; without weights of `[x, 1]` and
    `[-2 c, sum c^2]`.
    """
    if codewords.shape[1] == 1:
        return _assign_scalars(points, codewords)
    left = points.left
    # left [n, block + 1] or [n, 2 block]; right [block + 1 or 2 block, codewords].
    squares = codewords.T**2 if points.distance is not None else (codewords.T**2).sum(axis=0, keepdims=True)
    right = np.concatenate([-2 * codewords.T, squares])
    labels = np.empty(len(left), dtype=np.intp)
    nearest = np.empty(len(left), dtype=np.float32)
    # Either chunks so short that their product stays in one thread, or, where those had fewer than 32 points, long
    # ones.
    small = _SMALL_PRODUCT // right.size
    chunk = small if small >= _SMALLEST_CHUNK else _LARGE_CHUNK
    scores = np.empty((chunk, len(codewords)), dtype=np.float32)
    first = np.arange(chunk) * len(codewords)
    for start in range(0, len(left), chunk):
        stop = min(start + chunk, len(left))
        near = np.matmul(left[start:stop], right, out=scores[: stop - start])
        chosen = near.argmin(axis=1, out=labels[start:stop])
        # The scores at the minima, [chunk]: `min` would read the whole chunk a second time.
        nearest[start:stop] = scores.ravel().take(first[: stop - start] + chosen)
    return labels, max(points.energy + float(nearest.sum(dtype=np.float64)), 0.0)


def nearest_indices(points: Points, codewords: Array) -> npt.NDArray[np.uint16]:
    """Return each point's nearest codeword, some points at a time: an index of 16 bits a point is all that is held."""
    indices = np.empty(len(points.blocks), np.uint16)
    for start in range(0, len(indices), _AT_ONCE):
        span = slice(start, start + _AT_ONCE)
        indices[span], _ = assign(points.take(span), codewords)
    return indices


def condensed(points: Points) -> Points:
    """Return many scalars as few: the mean of those whose first 20 bits are the same, with what they count together.

    They are less than a thousandth of their size apart, a hundredth of what 1024 codewords would leave between them.
    """
    counts, sums = np.zeros(1 << _KEY_BITS), np.zeros(1 << _KEY_BITS)
    for start in range(0, len(points.blocks), _AT_ONCE):
        part = points.take(slice(start, start + _AT_ONCE))
        values = part.blocks.ravel()
        keys = np.ascontiguousarray(values).view(np.uint32) >> np.uint32(32 - _KEY_BITS)
        weights = None if part.importance is None else part.importance.ravel().astype(np.float64)
        counts += np.bincount(keys, weights, 1 << _KEY_BITS)
        sums += np.bincount(keys, values if weights is None else weights * values, 1 << _KEY_BITS)
    filled = np.flatnonzero(counts > 0)
    means = (sums[filled] / counts[filled]).astype(np.float32)
    return Points(means[:, None], counts[filled, None].astype(np.float32))


def _assign_scalars(points: Points, codewords: Array) -> tuple[Labels, float]:
    """Do as `assign` where a block is one number: the nearest codeword follows from the midpoints between codewords."""
    order = np.argsort(codewords.ravel(), kind="stable")
    rising = codewords.ravel()[order]
    labels = order[np.searchsorted((rising[1:] + rising[:-1]) / 2, points.blocks.ravel(), side="left")]
    squares = np.square(points.blocks - codewords[labels])
    return labels, float((squares if points.distance is None else points.distance * squares).sum(dtype=np.float64))


def centroids(points: Points, labels: Labels, codewords: Array, rng: np.random.Generator) -> Array:
    """Return the weighted mean of each codeword's members; a codeword without members splits the fullest cluster."""
    count = len(codewords)
    # A matrix [count, n] of zeros and ones, a single 1 in each column: times the blocks it is the sum of each cluster.
    members = scipy.sparse.csr_array(
        (np.ones(len(labels), np.float64), labels, np.arange(len(labels) + 1)), shape=(len(labels), count)
    ).T
    if points.importance is None:
        mass = np.bincount(labels, minlength=count).astype(np.float64)[:, None]
        sums = members @ points.blocks
    else:
        mass = members @ points.importance
        sums = members @ (points.importance * points.blocks)
    means = np.where(mass > 0, sums / np.where(mass > 0, mass, 1), codewords)
    return split_empty(means, np.bincount(labels, minlength=count), rng).astype(np.float32)


def split_empty(
    means: npt.NDArray[np.float64], sizes: npt.NDArray[np.intp], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Move each codeword `[count, block]` without members beside that of the fullest cluster, in place.

    A cluster that was split counts as two halves from then on: sizes (8, 0, 0) become (4, 4, 0), then (2, 4, 2).
    """
    sizes = sizes.astype(np.float64)
    for empty in np.flatnonzero(sizes == 0):
        fullest = int(sizes.argmax())
        # Far enough apart to differ as float32; the other half stays, exact where all its members are equal.
        nudge = rng.standard_normal(means.shape[1]) * 1e-6 * (1e-8 + np.abs(means[fullest]))
        means[empty] = means[fullest] + nudge
        sizes[fullest] /= 2
        sizes[empty] = sizes[fullest]
    return means


def seed_codewords(points: Points, count: int, rng: np.random.Generator) -> Array:
    """Return `count` points, far from each other in proportion to their squared distance (k-means++)."""
    blocks: Array = points.blocks
    # No more points than codewords: each is a codeword, some of them several times.
    if len(blocks) <= count:
        return np.ascontiguousarray(np.resize(blocks, (count, blocks.shape[1])))
    if count > _MAX_SEEDED:
        return blocks[np.sort(rng.choice(len(blocks), count, replace=False))]
    weights = points.importance if points.importance is not None else np.ones((1, blocks.shape[1]), np.float32)
    chosen = np.empty((count, blocks.shape[1]), dtype=np.float32)
    chosen[0] = blocks[rng.integers(len(blocks))]
    nearest = (weights * np.square(blocks - chosen[0])).sum(axis=1)
    for index in range(1, count):
        reach = np.cumsum(nearest, dtype=np.float64)
        if reach[-1] <= 0:
            chosen[index:] = chosen[0]  # fewer distinct points than codewords
            break
        # A point is picked with the probability of its share of the sum. At distances (0, 1, 3) to the nearest codeword
        # the reach is (0, 1, 4): random numbers below 1 pick the second point, those from 1 on the third.
        picked = min(int(np.searchsorted(reach, rng.random() * reach[-1], side="right")), len(blocks) - 1)
        chosen[index] = blocks[picked]
        np.minimum(nearest, (weights * np.square(blocks - chosen[index])).sum(axis=1), out=nearest)
    return chosen


def lloyd(points: Points, codewords: Array, rng: np.random.Generator, tolerance: float = TOLERANCE) -> Array:
    """Move codewords to the means of their members until the objective stands still, at most 100 times."""
    before = np.inf
    labels = np.full(len(points.blocks), -1, dtype=np.intp)
    for _ in range(MAX_ITERATIONS):
        found, objective = assign(points, codewords)
        if np.array_equal(found, labels) or before - objective <= tolerance * objective:
            # With a distance of its own the objective may rise; the last codewords are as good as any then.
            break
        before, labels = objective, found
        codewords = centroids(points, labels, codewords, rng)
    return codewords


def cluster(points: Points, count: int, rng: np.random.Generator, start: Array | None = None) -> Array:
    """Return `count` codewords, float32 `[count, block]`, in rising order of their first number.

    Many points are clustered first by samples of them, each four times the last: the iterations over all points, that
    cost most, are then few.
    """
    if points.blocks.shape[1] == 1:
        return cluster_scalars(points, count, rng, start)
    size, total = _SAMPLE * count, len(points.blocks)
    tolerance = _MANY_TOLERANCE if total > 2 * size else TOLERANCE
    warm = start is not None
    # 256 codewords of a million points: samples of 65,536 and of 262,144 points, then all of them.
    while not warm and 2 * size < total:
        sample = points.take(np.sort(rng.choice(total, size, replace=False)))
        start = lloyd(sample, seed_codewords(sample, count, rng) if start is None else start, rng, tolerance)
        size *= 4
    codewords = lloyd(points, seed_codewords(points, count, rng) if start is None else start, rng, tolerance)
    # `lexsort` sorts by its last key first: the columns are turned round.
    return codewords[np.lexsort(codewords.T[::-1])]


def cluster_scalars(points: Points, count: int, rng: np.random.Generator, start: Array | None = None) -> Array:
    """Return `count` scalar codewords, in rising order: from `start`, or the best that several starts lead to."""
    if len(points.blocks) >= MANY_SCALARS:
        points = condensed(points)
    line = SortedPoints.of(points)
    if start is not None:
        starts = [start.ravel().astype(np.float64)]
    else:
        starts = [line.companded(count), line.seeds(count, rng)]
        starts += [line.best_of_cells(count)] if count <= _MAX_EXACT else []
    codewords, _ = min((line.lloyd(each, rng) for each in starts), key=lambda found: found[1])
    return codewords.astype(np.float32)[:, None]


@dataclass(frozen=True, eq=False)
class SortedPoints:
    """Weighted numbers in rising order with running sums: a cluster is a range of them.

    They may lie on a device; `lloyd` alone takes them from there.

    Attributes:
        values: float32 `[n]`.
        weights: float64 `[n]` or, where all are the same, `[]`.
        mass: float64 `[n + 1]`, the sum of the first weights.
        moment: float64 `[n + 1]`, the sum of the first weights times their values.
    """

    values: DeviceArray
    weights: DeviceArray
    mass: DeviceArray
    moment: DeviceArray

    @classmethod
    def of(cls, points: Points) -> SortedPoints:
        """Return points of one number each in order."""
        values = points.blocks.ravel()
        if points.importance is None:
            values, weights = np.sort(values), np.ones((), dtype=np.float64)
            mass = np.arange(len(values) + 1, dtype=np.float64)
        else:
            order = np.argsort(values)
            values, weights = values[order], points.importance.ravel()[order].astype(np.float64)
            mass = np.concatenate([[0.0], np.cumsum(weights)])
        return cls(values, weights, mass, np.concatenate([[0.0], np.cumsum(weights * values)]))

    def seeds(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Return first codewords by k-means++, from a sample of the values where there are many."""
        many = len(self.values) > _SAMPLE * count
        picks = np.unique(rng.integers(0, len(self.values), _SAMPLE * count)) if many else slice(None)
        importance = np.broadcast_to(self.weights, self.values.shape)[picks, None].astype(np.float32)
        found = seed_codewords(Points(self.values[picks, None], importance), count, rng)
        return found.ravel().astype(np.float64)

    def companded(self, count: int) -> npt.NDArray[np.float64]:
        """Return codewords as dense as the cube root of the values, which is best where there are many (Panter, Dite).

        P. F. Panter, W. Dite: Quantization distortion in pulse-count modulation, 1951.
        """
        # Cells of equal mass: in one that is `width` wide the density is 1 / width, and the integral of its cube root
        # is width^(2/3).
        cells = min(_CELLS * count, max(len(self.values) - 1, 1))
        total = np.linspace(0, self.mass[-1], cells + 1)
        edges = self.values[np.clip(np.searchsorted(self.mass[1:], total, side="left"), 0, len(self.values) - 1)]
        reach = np.concatenate([[0.0], np.cumsum(np.cbrt(np.square(np.diff(edges.astype(np.float64)))))])
        return np.asarray(np.interp((np.arange(count) + 0.5) / count * reach[-1], reach, edges))

    def best_of_cells(self, count: int) -> npt.NDArray[np.float64]:
        """Return the codewords of least error if no cluster cuts a cell, by dynamic programming over the cells.

        H. Wang, M. Song: Ckmeans.1d.dp, 2011, on cells in place of values.
        """
        ends = np.searchsorted(self.values, self.companded(_CELLS * count).astype(np.float32))
        bounds = np.unique(np.concatenate([[0], ends, [len(self.values)]]))
        # What a cluster from bound i to bound j takes off the sum of squares, [i, j]: its sum, squared, over its mass.
        mass, moment = (running[bounds] for running in (self.mass, self.moment))
        total, sums = mass[None] - mass[:, None], moment[None] - moment[:, None]
        worth = np.where(total > 0, np.square(sums) / np.where(total > 0, total, 1), -np.inf)
        np.fill_diagonal(worth, 0)
        best, origins = worth[0], []
        # [j, i], so that the best i of a j is sought among neighbours in memory.
        worth, reached = np.ascontiguousarray(worth.T), np.empty_like(worth)
        for _ in range(count - 1):
            origin = np.add(worth, best, out=reached).argmax(axis=1)
            origins.append(origin)
            best = reached[np.arange(len(origin)), origin]
        # Back from the last bound: where the last cluster begins, then the one before it.
        cuts = [len(bounds) - 1]
        for origin in reversed(origins):
            cuts.append(int(origin[cuts[-1]]))
        edges = np.array([0, *reversed(cuts)])
        parts, sums = np.diff(mass[edges]), np.diff(moment[edges])
        # A cluster of nothing stands at the value where it is.
        there = self.values[np.minimum(bounds[edges[:-1]], len(self.values) - 1)]
        return np.asarray(np.where(parts > 0, sums / np.where(parts > 0, parts, 1), there))

    def lloyd(self, start: npt.NDArray[np.float64], rng: np.random.Generator) -> tuple[npt.NDArray[np.float64], float]:
        """Return codewords by Lloyd's iteration, rising, and their error but for the sum of the weighted squares."""
        # Values (0, 1, 4, 5) and codewords (1, 4): the edge is 2.5, the bounds are (0, 2, 4). Of the running sums (0,
        # 0, 1, 5, 10) those at the bounds are (0, 1, 10): sums 1 and 9, means 0.5 and 4.5.
        codewords = np.sort(start)
        bounds = np.full(len(codewords) + 1, -1, dtype=np.intp)
        for _ in range(10 * MAX_ITERATIONS):  # an iteration takes microseconds
            edges = ((codewords[1:] + codewords[:-1]) / 2).astype(np.float32)  # of the values' type, or they are copied
            middles = on_host(namespace(self.values).searchsorted(self.values, beside(edges, self.values)))
            found = np.concatenate([[0], middles, [len(self.values)]])
            # No value changed its cluster: the means would be the same again.
            if np.array_equal(found, bounds):
                break
            bounds = found
            total, sums = self._within(bounds)
            means = np.where(total > 0, sums / np.where(total > 0, total, 1), codewords)
            codewords = np.sort(split_empty(means[:, None], np.diff(bounds), rng).ravel())
        total, sums = self._within(bounds)
        # The error of a cluster is the sum of w x^2 less that of w x, squared, over that of w.
        return codewords, -float((np.square(sums) / np.where(total > 0, total, 1)).sum())

    def _within(self, bounds: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return mass and moment between each bound and the next."""
        ends = beside(bounds, self.mass)
        return np.diff(on_host(self.mass[ends])), np.diff(on_host(self.moment[ends]))
