"""Codewords of scalars for an entropy code: evenly spaced, so many that their numbers take a given number of bits.

Where numbers of codewords have a fixed width, k-means gives the least error: many codewords where weights are many. In
an entropy code, as Huffman's, a number takes the fewer bits the more often it occurs, and there evenly spaced codewords
are nearly the best at all rates: a quarter of a bit above what any code could do (H. Gish, J. Pierce: Asymptotically
efficient quantizing, 1968). For networks: Y. Choi, M. El-Khamy, J. Lee, Towards the limit of network quantization, 2016
(arXiv 1612.01543).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dtc.forms import Array
from dtc.forms.huffman import entropy
from dtc.passes.solvers.clustering import Points

_SEEN = 1 << 18
"""Weights by which the spacing is found."""

_HALVINGS = 24
"""Of the range of spacings, in logarithms: the bits are met to a thousandth."""

_MOST_CELLS = 1 << 18
"""Most of them, between weights that lie far out, are empty."""

_WIDER = 1.1

Doubles = npt.NDArray[np.float64]


def evenly_spaced(points: Points, bits: float, most: int) -> Array:
    """Return codewords, float32 `[count, 1]`, rising: the means of cells of one width.

    Args:
        points: Scalars, on the host.
        bits: What a cell's number takes in an entropy code, on average.
        most: Codewords at the most, of cells that hold a weight: where there would be more, cells are wider.
    """
    values = points.blocks.ravel().astype(np.float64)
    weights = np.ones(len(values)) if points.importance is None else points.importance.ravel().astype(np.float64)
    spread = float(np.ptp(values))
    if spread == 0:
        return np.asarray(points.blocks[:1], np.float32)
    some, middle = slice(None, None, -(-len(values) // _SEEN)), float(values.mean())
    narrow, wide = spread / _MOST_CELLS, 2 * spread
    for _ in range(_HALVINGS):
        step = float(np.sqrt(narrow * wide))
        found = _means(values[some], weights[some], middle, step)
        if len(found) > most or entropy(_members(values[some], found)) > bits:
            narrow = step
        else:
            wide = step
    found = _means(values, weights, middle, wide)
    while len(found) > most:  # of all weights more cells may be filled than of those that were seen
        wide *= _WIDER
        found = _means(values, weights, middle, wide)
    return found.astype(np.float32)[:, None]


def _means(values: Doubles, weights: Doubles, middle: float, step: float) -> Doubles:
    """Return the means of cells as wide as a step that hold a value, rising; one cell has its middle at `middle`."""
    numbers = np.rint((values - middle) / step).astype(np.intp)
    numbers -= numbers.min()
    counts, mass = np.bincount(numbers), np.bincount(numbers, weights)
    # Where all that a cell holds counts for nothing its mean is that of the values.
    sums = np.where(mass > 0, np.bincount(numbers, weights * values), np.bincount(numbers, values))
    return np.asarray((sums / np.where(mass > 0, mass, np.maximum(counts, 1)))[counts > 0])


def _members(values: Doubles, codewords: Doubles) -> npt.NDArray[np.intp]:
    """Return to how many values each codeword is the nearest."""
    return np.bincount(np.searchsorted((codewords[1:] + codewords[:-1]) / 2, values))
