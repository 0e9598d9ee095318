"""Fine-tuning codewords while the assignments stay: gradients of codewords, and EWGS fake quantization.

J. Lee, D. Kim, B. Ham, Network quantization with element-wise gradient scaling (CVPR 2021): the gradient of a rounded
number is scaled by how far it was rounded. Product quantization takes the mean of its members' gradients for a
codeword (P. Stock et al., And the bit goes down, 2020), Deep Compression their sum (S. Han et al., 2016).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array

from dtc.errors import TrainingError
from dtc.forms import Array, Codebook, Codewords, Grid


def codeword_gradient(
    forms: Sequence[Codebook], gradients: Iterable[Array], reduction: Literal["mean", "sum"] = "mean"
) -> Array:
    """Return the gradient of the codewords that some matrices share.

    Args:
        forms: One for each matrix, all with the same codewords.
        gradients: Of the dense weights, float32 `[out, in]` for each matrix.
        reduction: `sum` is the derivative of the loss; `mean` is that over the members, so that a codeword's step does
            not grow with their number.

    Returns:
        float32 `[codewords, block]`; zero for a codeword without members.
    """
    words = forms[0].codewords
    total = np.zeros(words.stored.shape, dtype=np.float64)
    members = np.zeros_like(total)
    # Blocks of 2, indices ((0, 1), (0, 0)), slopes ((1, 2, 3, 4), (5, 6, 7, 8)): codeword 0 gets (1 + 5 + 7, 2 + 6 +
    # 8), codeword 1 gets (3, 4). The mean divides by (3, 3) and (1, 1).
    for form, slope in zip(forms, gradients, strict=True):
        kept = np.ones(form.shape, dtype=bool) if form.mask is None else form.mask
        spare = ((0, 0), (0, form.indices.shape[1] * form.block - form.columns))
        slopes = np.pad(np.where(kept, slope, 0) * (1.0 if form.gain is None else form.gain), spare)
        # With an index for zero blocks, index 0 is no codeword: it becomes -1 and is left out.
        coded = form.indices.ravel().astype(np.intp) - form.zero
        used = coded >= 0
        for part, values in ((total, slopes), (members, np.pad(kept, spare))):
            part += _sums(coded[used], values.reshape(-1, form.block)[used], len(part))
    result = total / np.maximum(members, 1) if reduction == "mean" else total
    return result.astype(np.float32)


def _sums(labels: npt.NDArray[np.intp], rows: npt.NDArray[Any], count: int) -> npt.NDArray[np.float64]:
    """Return for each label below `count` the sum of the rows that have it."""
    # The product with a matrix that has a one in each column, which is twenty times as fast as `np.add.at`.
    ones = csc_array((np.ones(labels.size), labels, np.arange(labels.size + 1)), shape=(count, labels.size))
    return np.asarray(ones @ rows.astype(np.float64))


class CodewordLatents:
    """The codewords of some sites as numbers to train, while every block keeps its codeword.

    Codewords on a grid are rounded in the forward pass alone (EWGS), with a range that is trained too: steps too small
    for the grid add up. Half-precision ones are kept in float32 likewise.

    Attributes:
        arrays: For each table `<table>::codewords`, float32 `[codewords, block]`, and `<table>::range`, float32 `[2]`:
            first and last level, where there is a grid.
    """

    def __init__(self, forms: Mapping[str, tuple[Codebook, ...]], delta: float) -> None:
        self._sites, self._delta = dict(forms), delta
        self._tables: dict[str, list[str]] = {}
        for site, (first, *_) in forms.items():
            self._tables.setdefault(first.name or site, []).append(site)
        self.arrays: dict[str, Array] = {}
        for table, (site, *_) in self._tables.items():
            words = forms[site][0].codewords
            self.arrays[f"{table}::codewords"] = words.values.copy()
            if words.grid is not None:
                levels = np.array([0, 2**words.grid.bits - 1], np.uint8)
                self.arrays[f"{table}::range"] = words.grid.values(levels)

    def gradients(self, slopes: Mapping[str, Array], /) -> dict[str, Array]:
        """Return the gradients of `arrays`, given those of the dense weights, float32 `[count, out, in]`, by site.

        A codeword gets the mean of its members' gradients, a bound of the range the mean of what the codewords give.
        """
        found: dict[str, Array] = {}
        for table, sites in self._tables.items():
            forms = [form for site in sites for form in self._sites[site]]
            slope = codeword_gradient(forms, [matrix for site in sites for matrix in slopes[site]])
            found[f"{table}::codewords"] = slope
            if (grid := forms[0].codewords.grid) is not None:
                fake = fake_quantize(self.arrays[f"{table}::codewords"], *self._range(table), grid.bits)
                found[f"{table}::codewords"], lower, upper = fake.backward(slope, self._delta)
                found[f"{table}::range"] = np.array([lower, upper], np.float32) / np.float32(slope.size)
        return found

    def forms(self) -> dict[str, tuple[Codebook, ...]]:
        """Return the forms with the present codewords, rounded, by site.

        Raises:
            TrainingError: A range was trained until nothing is left of it.
        """
        found = {}
        for table, sites in self._tables.items():
            words = self._sites[sites[0]][0].codewords
            grid = None if words.grid is None else Grid.spanning(*self._range(table), words.grid.bits)
            rounded = Codewords.encode(self.arrays[f"{table}::codewords"], words.bits, grid)
            for site in sites:
                found[site] = tuple(replace(form, codewords=rounded) for form in self._sites[site])
        return found

    def _range(self, table: str) -> tuple[float, float]:
        lower, upper = (float(bound) for bound in self.arrays[f"{table}::range"])
        if not lower < upper:
            raise TrainingError(f"{table}: the range of its codewords shrank to nothing; lower the learning rate")
        return lower, upper


@dataclass(frozen=True, eq=False)
class FakeQuantized:
    """Numbers rounded to the levels of a learned range, and the arrays that their gradient needs.

    Attributes:
        values: float32, `lower + (upper - lower) * rounded`; those of `grid` but for rounding.
        normal: float32, the numbers in the range, clipped to 0..1.
        rounded: float32, `normal` at the nearest of `2 ** bits` levels.
        inside: Which numbers were not clipped.
        lower: Of the range.
        upper: Of the range.
    """

    values: Array
    normal: Array
    rounded: Array
    inside: Array
    lower: float
    upper: float

    def backward(self, gradient: Array, delta: float = 1e-3) -> tuple[Array, float, float]:
        """Return the gradients of the numbers, of `lower` and of `upper`, given that of `values`.

        With `g` the gradient of `rounded`, that of `normal` is `g * (1 + delta * sign(g) * (normal - rounded))`;
        `delta` 0 is the straight-through estimator.
        """
        # values = lower + width * rounded, rounded = round(normal), normal = (number - lower) / width, clipped.
        # With n for normal and r for rounded, the two bounds act on the values directly, by 1 - r and r, and through n,
        # by dn/dlower = (n - 1) / width and dn/dupper = -n / width; the latter, like the number itself, not where n is
        # clipped.
        width = self.upper - self.lower
        rounded = gradient * width
        normal = rounded * (1 + delta * np.sign(rounded) * (self.normal - self.rounded))
        inner = normal * self.inside
        lower = (gradient * (1 - self.rounded) + inner * (self.normal - 1) / width).sum(dtype=np.float64)
        upper = (gradient * self.rounded - inner * self.normal / width).sum(dtype=np.float64)
        return (inner / width).astype(np.float32), float(lower), float(upper)


def fake_quantize(values: Array, lower: float, upper: float, bits: int) -> FakeQuantized:
    """Round numbers to the `2 ** bits` levels of the range from `lower` to `upper`.

    Raises:
        ValueError: The range is empty.
    """
    if not lower < upper:
        raise ValueError(f"the range from {lower} to {upper} is empty")
    raw = (values - lower) / (upper - lower)
    normal = np.clip(raw, 0, 1).astype(np.float32)
    rounded = (np.rint(normal * (2**bits - 1)) / (2**bits - 1)).astype(np.float32)
    inside = ((raw >= 0) & (raw <= 1)).astype(np.float32)
    return FakeQuantized((lower + (upper - lower) * rounded).astype(np.float32), normal, rounded, inside, lower, upper)
