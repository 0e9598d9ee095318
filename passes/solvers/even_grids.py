"""Evenly spaced levels of least squared error, for each row of its own.

The largest weight need not be the last level: a few weights that are cut off cost less than wider steps for all. So
shares of the range are tried, then scale and zero point are fitted to the codes and these to them, as in Lloyd's
iteration (S. Lloyd, Least squares quantization in PCM, 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dtc.forms import Array
from dtc.passes.solvers.binary_codes import Codes, Rows

STEP_BITS = 11
"""Significant bits of a scale, float16's own: so that `s (q - z)`, and its sum of planes, is exact in float32."""

SHARES = 12
"""Shares of the range that are tried, from all of it down to a twelfth for each bit."""

ROUNDS = 3
"""Most fits of scale and zero point; they end earlier where none does good."""

CHUNK = 1 << 16
"""Weights that are tried at once, so that they stay in a cache."""


@dataclass(frozen=True, eq=False)
class EvenGrid:
    """Levels `scale * (q - zero)`, q from 0 to `2^bits - 1`, a scale and a zero point for each row.

    Attributes:
        bits: Of a level's number.
        scale: float32 `[rows, 1]`, not negative, of `STEP_BITS` significant bits.
        zero: float32 `[rows, 1]`, the whole number of the level that is 0.
    """

    bits: int
    scale: Array
    zero: Array

    def nearest(self, rows: Rows) -> Codes:
        """Return the number of the level nearest to each weight, uint8 `[rows, n]`; `zero` where it does not count."""
        codes = np.empty(rows.values.shape, np.uint8)
        step = max(1, CHUNK // rows.values.shape[1])
        for start in range(0, len(codes), step):
            span = slice(start, start + step)
            part = EvenGrid(self.bits, self.scale[span], self.zero[span])
            steps = part.steps(rows.values[span])
            codes[span] = (steps if rows.kept is None else steps * rows.kept[span]) + part.zero
        return codes

    def weights(self, codes: Codes) -> Array:
        """Return the levels with these numbers, float32 `[rows, n]`."""
        return np.asarray(self.scale * (codes - self.zero), dtype=np.float32)

    def steps(self, values: Array, out: Array | None = None) -> Array:
        """Return the nearest levels of `values [rows, n]` in steps from 0, in `out` where that is given."""
        steps = np.divide(values, np.where(self.scale > 0, self.scale, np.float32(1)), out=out)
        np.rint(steps, out=steps)
        return np.clip(steps, -self.zero, np.float32((1 << self.bits) - 1) - self.zero, out=steps)


def fit_grid(rows: Rows, bits: int, *, symmetric: bool) -> EvenGrid:
    """Return the levels of least squared error that are found; 0 is a level, and weights that do not count are 0.

    With `symmetric` the zero point is the middle, `2^(bits - 1)`.
    """
    step = max(1, CHUNK // rows.values.shape[1])
    starts = range(0, len(rows.values), step)
    found = [_Fit(rows.values[start : start + step], bits, symmetric=symmetric).best() for start in starts]
    return EvenGrid(bits, np.concatenate([each.scale for each in found]), np.concatenate([each.zero for each in found]))


class _Fit:
    """The best levels of each row so far, and their squared errors `[rows, 1]`."""

    def __init__(self, values: Array, bits: int, *, symmetric: bool) -> None:
        self._values, self._bits, self._symmetric = values, bits, symmetric
        self._spare = np.empty_like(values)
        self._scale, self._zero = self._whole_range()
        self._least = self._errors(self._scale, self._zero)

    def best(self) -> EvenGrid:
        """Return the best levels that are found."""
        # 1. Narrower levels: what lies beyond gets the last one. At 4 bits the shares go down to a third, at 8 to two
        #    thirds: the more levels there are, the less a weight that is cut off may cost.
        whole = self._scale
        for share in np.geomspace(1, self._bits / 12, SHARES, dtype=np.float32)[1:]:
            self._try(whole * share, self._zero)
        # 2. Codes and what fits them best, in turn.
        for _ in range(ROUNDS):
            if not self._refit():
                break
        return EvenGrid(self._bits, self._scale, self._zero)

    def _whole_range(self) -> tuple[Array, Array]:
        # 0 is in the range, so that it is a level; of a row without weights all is 0, and the scale with it.
        low = np.minimum(self._values.min(axis=1, keepdims=True), 0)
        high = np.maximum(self._values.max(axis=1, keepdims=True), 0)
        last = np.float32((1 << self._bits) - 1)
        if self._symmetric:
            # 3 bits: levels 0 to 7, zero point 4, steps -4 to 3.
            middle = np.float32(1 << (self._bits - 1))
            scale = _short(np.maximum(high / (last - middle), -low / middle))
            return scale, np.full_like(scale, middle)
        scale = _short((high - low) / last)
        return scale, np.clip(np.round(-low / np.where(scale > 0, scale, 1)), 0, last)

    def _refit(self) -> bool:
        """Fit the scale to the codes, then try the zero points beside; return whether any row got better."""
        steps = EvenGrid(self._bits, self._scale, self._zero).steps(self._values)
        squares = np.square(steps).sum(axis=1, keepdims=True)
        # The scale that fits these steps best: the sum of w q over that of q q.
        scale = (self._values * steps).sum(axis=1, keepdims=True) / np.where(squares > 0, squares, 1)
        better = self._try(np.maximum(scale, 0), self._zero)
        if self._symmetric:
            return better
        zero = self._zero
        beside = [self._try(self._scale, np.clip(zero + move, 0, (1 << self._bits) - 1)) for move in (-1, 1)]
        return better or any(beside)

    def _try(self, scale: Array, zero: Array) -> bool:
        """Take other levels in rows where they are better; return whether there were any."""
        scale = _short(scale)
        errors = self._errors(scale, zero)
        better = errors < self._least
        self._scale, self._zero = np.where(better, scale, self._scale), np.where(better, zero, self._zero)
        self._least = np.where(better, errors, self._least)
        return bool(better.any())

    def _errors(self, scale: Array, zero: Array) -> Array:
        # All in one array, which stays in a cache from one try to the next.
        steps = EvenGrid(self._bits, scale, zero).steps(self._values, self._spare)
        steps *= scale
        np.subtract(self._values, steps, out=steps)
        return np.asarray(np.square(steps, out=steps).sum(axis=1, keepdims=True))


def _short(scale: Array) -> Array:
    """Return the scale rounded to `STEP_BITS` significant bits."""
    mantissa, exponent = np.frexp(scale)
    return np.asarray(np.ldexp(np.round(mantissa * 2**STEP_BITS) / 2**STEP_BITS, exponent), dtype=np.float32)
