"""How the array of a weight is read as matrices `[out, in]`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtc.device_arrays import DeviceArray, as_type, permuted
from dtc.forms import Array


@dataclass(frozen=True)
class NoView:
    """Why a weight is no stack of matrices for the node that reads it."""

    reason: str


@dataclass(frozen=True)
class MatrixView:
    """How an array is read as `count` matrices `[rows, cols]` = `[out, in]`, the reduction dimension last.

    The matrices are `array.reshape(split).transpose(perm).reshape(count, rows, cols)`.

    Attributes:
        perm: Axes of the array, or of its parts where axes are split, in the order in which they are read.
        count: Matrices.
        rows: Of each.
        cols: Of each.
        parts: The sizes that each axis is split into; none: no axis is. Of a weight `[in, out / 2, 3]` in two groups,
            whose first axis holds both, they are `(2, in / 2), (out / 2,), (3,)`.
    """

    perm: tuple[int, ...]
    count: int
    rows: int
    cols: int
    parts: tuple[tuple[int, ...], ...] = ()

    def sizes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the sizes of an array of that shape, or of its parts, in the order of `perm`."""
        split = self._split(shape)
        return tuple(split[axis] for axis in self.perm)

    def matrices(self, array: DeviceArray) -> DeviceArray:
        """Return `array` as float32 `[count, rows, cols]`, where it lies."""
        read = permuted(array.reshape(self._split(array.shape)), self.perm)
        return as_type(read.reshape(self.count, self.rows, self.cols), "float32")

    def restore(self, matrices: Array, shape: Sequence[int]) -> Array:
        """Return matrices `[count, rows, cols]` as the array of the given shape that they came from."""
        # argsort of a permutation is its inverse: perm (2, 0, 1), argsort (1, 2, 0).
        restored = matrices.reshape(self.sizes(shape)).transpose(np.argsort(self.perm)).reshape(shape)
        return np.ascontiguousarray(restored)

    def behind(self, perm: Sequence[int]) -> MatrixView:
        """Return the view of an array whose transpose by `perm` has this view: its axis `perm[i]` is axis i here."""
        # B [in, out] of a MatMul behind a Transpose (1, 0) is stored as [out, in]: perm (1, 0), this view (1, 0), and
        # the view behind is (0, 1), the array as it is.
        rank = len(perm)
        widths = [len(self.parts[axis]) if self.parts else 1 for axis in range(rank)]
        places: dict[int, list[int]] = {}  # of the parts of each of this view's axes, in the array behind
        start = 0
        for axis in np.argsort(perm):
            places[int(axis)] = list(range(start, start + widths[axis]))
            start += widths[axis]
        order = [place for axis in range(rank) for place in places[axis]]
        parts = tuple(self.parts[axis] for axis in np.argsort(perm)) if self.parts else ()
        return MatrixView(tuple(order[axis] for axis in self.perm), self.count, self.rows, self.cols, parts)

    def _split(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(size for part in self.parts for size in part) if self.parts else tuple(shape)


def as_matrices(count: int, rows: int, cols: int, axes: Sequence[int]) -> MatrixView | NoView:
    """Return the view of matrices of those sizes, if these are more than a single number."""
    if min(count, rows, cols) < 1:
        return NoView("it holds no numbers")
    if count * rows * cols == 1:
        return NoView("a single number is a scale")
    return MatrixView(tuple(axes), count, rows, cols)


def laid_flat(seen: Sequence[int], lead: Sequence[int], out: Sequence[int], into: Sequence[int]) -> MatrixView | NoView:
    """Return the view of a shape whose axes are matrices (`lead`), rows (`out`) and columns (`into`), in that order."""
    count, rows, cols = (math.prod(seen[axis] for axis in axes) for axes in (lead, out, into))
    return as_matrices(count, rows, cols, (*lead, *out, *into))
