"""Weighted k-means of blocks that lie on a device, from the last codewords: `dtc.passes.solvers.clustering` on tensors.

What has the size of the weights stays on the device; codewords are in host memory. All sums are products of matrices,
taken in one order: the same weights give the same codewords, which scattered addition would not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dtc.device_arrays import DeviceArray, as_type, beside, namespace, on_host
from dtc.forms import Array
from dtc.passes.solvers.clustering import MAX_ITERATIONS, TOLERANCE, Points, SortedPoints, split_empty

_AT_ONCE = 1 << 16
"""Blocks whose distances to all codewords are computed at once."""

_SPAN = 256
"""Numbers that a running sum adds by one product."""


def cluster(points: Points, start: Array, rng: np.random.Generator) -> Array:
    """Return codewords in rising order, float32 `[count, block]`, by Lloyd's iteration from `start [count, block]`."""
    if points.blocks.shape[1] == 1:
        scalars, _ = _in_order(points).lloyd(start.ravel().astype(np.float64), rng)
        return scalars.astype(np.float32)[:, None]
    codewords, before, labels = start, np.inf, None
    for _ in range(MAX_ITERATIONS):
        found, objective = _assign(points, codewords)
        if (labels is not None and bool((found == labels).all())) or before - objective <= TOLERANCE * objective:
            break
        before, labels = objective, found
        codewords = _centroids(points, found, codewords, rng)
    return codewords[np.lexsort(codewords.T[::-1])]


def nearest_indices(points: Points, codewords: Array) -> npt.NDArray[np.uint16]:
    """Return each block's nearest codeword, in host memory."""
    labels, _ = _assign(points, codewords)
    return np.asarray(on_host(as_type(labels, "int32")).astype(np.uint16))


def _assign(points: Points, codewords: Array) -> tuple[DeviceArray, float]:
    """Return each block's nearest codeword and the sum of their weighted squared distances."""
    blocks, weights, lib = points.blocks, points.distance, namespace(points.blocks)
    if codewords.shape[1] == 1:
        order = np.argsort(codewords.ravel(), kind="stable")
        rising = codewords.ravel()[order]
        place = lib.searchsorted(beside((rising[1:] + rising[:-1]) / 2, blocks), blocks.reshape(-1).contiguous())
        labels = beside(order, blocks)[place]
        squares = lib.square(blocks - beside(codewords, blocks)[labels])
        return labels, float((squares if weights is None else weights * squares).sum(dtype=lib.float64))
    # As on the host: all distances, but for what is the same for all codewords, are one product.
    squares = codewords.T**2 if weights is not None else (codewords.T**2).sum(axis=0, keepdims=True)
    right = beside(np.concatenate([-2 * codewords.T, squares]), blocks)
    least, labels = [], []
    for span in (slice(start, start + _AT_ONCE) for start in range(0, len(blocks), _AT_ONCE)):
        part = blocks[span]
        left = [part, lib.ones_like(part[:, :1])] if weights is None else [weights[span] * part, weights[span]]
        values, places = (lib.cat(left, dim=1) @ right).min(dim=1)
        least.append(values.sum(dtype=lib.float64))
        labels.append(places)
    energy = lib.square(blocks) if weights is None else weights * lib.square(blocks)
    return lib.cat(labels), max(float(energy.sum(dtype=lib.float64) + sum(least)), 0.0)


def _centroids(points: Points, labels: DeviceArray, codewords: Array, rng: np.random.Generator) -> Array:
    """Return the weighted mean of each codeword's members; see `clustering.centroids`."""
    lib, count = namespace(labels), len(codewords)
    weights = points.importance
    mass, sums, sizes = np.zeros((count, 1)), np.zeros(codewords.shape), np.zeros(count)
    for start in range(0, len(labels), _AT_ONCE):
        span = slice(start, start + _AT_ONCE)
        members = as_type(lib.nn.functional.one_hot(labels[span], count).T, "float32")
        part = points.blocks[span]
        sizes += on_host(members.sum(dim=1))
        mass = mass + (on_host(members.sum(dim=1))[:, None] if weights is None else on_host(members @ weights[span]))
        sums += on_host(members @ (part if weights is None else weights[span] * part))
    means = np.where(mass > 0, sums / np.where(mass > 0, mass, 1), codewords)
    return np.asarray(split_empty(means, sizes.astype(np.intp), rng), dtype=np.float32)


def _in_order(points: Points) -> SortedPoints:
    """Return blocks of one number each in order."""
    lib = namespace(points.blocks)
    values, order = lib.sort(points.blocks.reshape(-1), stable=True)
    if points.importance is None:
        weights = lib.ones((), dtype=lib.float64, device=values.device)
        mass = lib.arange(len(values) + 1, dtype=lib.float64, device=values.device)
    else:
        weights = as_type(points.importance.reshape(-1)[order], "float64")
        mass = _running(weights)
    return SortedPoints(values, weights, mass, _running(weights * values))


def _running(numbers: DeviceArray) -> DeviceArray:
    """Return the sums of the first numbers, float64 `[n + 1]`, by products: a parallel scan may add in any order."""
    lib, count = namespace(numbers), len(numbers)
    rows = lib.nn.functional.pad(numbers, (0, -count % _SPAN)).reshape(-1, _SPAN)
    inner = rows @ lib.triu(lib.ones((_SPAN, _SPAN), dtype=numbers.dtype, device=numbers.device))
    if len(rows) > 1:
        inner = inner + _running(inner[:, -1].contiguous())[:-1, None]
    return lib.nn.functional.pad(inner.reshape(-1)[:count], (1, 0))
