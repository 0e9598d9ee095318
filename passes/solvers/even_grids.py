"""Evenly spaced levels of least squared error, for each row of its own.

The largest weight need not be the last level: a few weights that are cut off cost less than wider steps for all. So
shares of the range are tried, then scale and zero point are fitted to the codes and these to them, as in Lloyd's
iteration (S. Lloyd, Least squares quantization in PCM, 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dtc.device_arrays import DeviceArray, as_type, namespace, on_host
from dtc.forms import Array
from dtc.passes.solvers.binary_codes import Codes, Rows

STEP_BITS = 11
"""Significant bits of a scale, float16's own: so that `s (q - z)`, and its sum of planes, is exact in float32."""

SHARES = 12
"""Shares of the range that are tried, from all of it down to a twelfth for each bit."""

PATIENCE = 3
"""Shares in a row that do a row no good before no more are tried: its error falls, and then rises. With four levels it
may fall again, and all are tried."""

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
        zero: float32 `[rows, 1]`, the whole number of the level that is 0; both lie where the rows do.
    """

    bits: int
    scale: DeviceArray
    zero: DeviceArray

    def nearest(self, rows: Rows) -> DeviceArray:
        """Return the number of the level nearest to each weight, uint8 `[rows, n]`; `zero` where it does not count."""
        if not isinstance(rows.values, np.ndarray):
            return as_type(self.steps(rows.values) + self.zero, "uint8")
        codes = np.empty(rows.values.shape, np.uint8)
        step = max(1, CHUNK // rows.values.shape[1])
        for start in range(0, len(codes), step):
            span = slice(start, start + step)
            part = EvenGrid(self.bits, self.scale[span], self.zero[span])
            steps = part.steps(rows.values[span])
            codes[span] = (steps if rows.kept is None else steps * rows.kept[span]) + part.zero
        return codes

    def on_host(self) -> EvenGrid:
        """Return the grid in host memory."""
        return EvenGrid(self.bits, on_host(self.scale), on_host(self.zero))

    def weights(self, codes: Codes) -> Array:
        """Return the levels with these numbers, float32 `[rows, n]`."""
        return np.asarray(self.scale * (codes - self.zero), dtype=np.float32)

    def steps(self, values: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
        """Return the nearest levels of `values [rows, n]` in steps from 0, in `out` where that is given."""
        lib = namespace(values)
        steps = lib.divide(values, lib.where(self.scale > 0, self.scale, lib.ones_like(self.scale)), out=out)
        lib.round(steps, out=steps)
        return lib.clip(steps, -self.zero, -self.zero + ((1 << self.bits) - 1), out=steps)


def fit_grid(rows: Rows, bits: int, *, symmetric: bool) -> EvenGrid:
    """Return the levels of least squared error that are found; 0 is a level, and weights that do not count are 0.

    With `symmetric` the zero point is the middle, `2^(bits - 1)`.
    """
    if not isinstance(rows.values, np.ndarray):
        return _Fit(rows.values, bits, symmetric=symmetric).best()
    step = max(1, CHUNK // rows.values.shape[1])
    starts = range(0, len(rows.values), step)
    found = [_Fit(rows.values[start : start + step], bits, symmetric=symmetric).best() for start in starts]
    return EvenGrid(bits, np.concatenate([each.scale for each in found]), np.concatenate([each.zero for each in found]))


class _Fit:
    """The best levels of each row so far, and their squared errors `[rows, 1]`."""

    def __init__(self, values: DeviceArray, bits: int, *, symmetric: bool) -> None:
        self._values, self._bits, self._symmetric = values, bits, symmetric
        self._lib = namespace(values)
        self._spare = self._lib.empty_like(values)
        self._scale, self._zero = self._whole_range()
        self._least = self._errors(self._scale, self._zero)

    def best(self) -> EvenGrid:
        """Return the best levels that are found."""
        # 1. Narrower levels: what lies beyond gets the last one. At 4 bits the shares go down to a third, at 8 to two
        #    thirds: the more levels there are, the less a weight that is cut off may cost.
        self._narrow()
        # 2. Codes and what fits them best, in turn; zero points as long as moving them does good.
        moving = self._scale >= 0  # all rows at first; each for itself, so that none depends on those beside it
        for _ in range(ROUNDS):
            better = self._rescale()
            if not self._symmetric:
                moving = self._move_zero(moving)
                better = better | moving
            if not better.any():
                break
        return EvenGrid(self._bits, self._scale, self._zero)

    def _narrow(self) -> None:
        whole, in_vain = self._scale, self._lib.zeros_like(self._scale)
        patience = PATIENCE if self._bits > 2 else SHARES
        for share in np.geomspace(1, self._bits / 12, SHARES, dtype=np.float32)[1:].tolist():
            better = self._try(whole * share, self._zero, in_vain < patience)
            in_vain = self._lib.where(better, self._lib.zeros_like(in_vain), in_vain + 1)
            if (in_vain >= patience).all():
                break

    def _whole_range(self) -> tuple[DeviceArray, DeviceArray]:
        # 0 is in the range, so that it is a level; of a row without weights all is 0, and the scale with it.
        lib = self._lib
        low = lib.clip(lib.amin(self._values, axis=1, keepdims=True), None, 0)
        high = lib.clip(lib.amax(self._values, axis=1, keepdims=True), 0, None)
        last = (1 << self._bits) - 1
        if self._symmetric:
            # 3 bits: levels 0 to 7, zero point 4, steps -4 to 3.
            middle = 1 << (self._bits - 1)
            scale = _short(lib.maximum(high / (last - middle), -low / middle))
            return scale, lib.full_like(scale, middle)
        scale = _short((high - low) / last)
        return scale, lib.clip(lib.round(-low / lib.where(scale > 0, scale, lib.ones_like(scale))), 0, last)

    def _rescale(self) -> DeviceArray:
        """Fit the scale to the codes; return which rows got better, `[rows, 1]`."""
        steps = EvenGrid(self._bits, self._scale, self._zero).steps(self._values, self._spare)
        lib = self._lib
        squares, fits = _dots(steps, steps), _dots(self._values, steps)
        # The scale that fits these steps best: the sum of w q over that of q q.
        scale = fits / lib.where(squares > 0, squares, lib.ones_like(squares))
        return self._try(lib.clip(scale, 0, None), self._zero)

    def _move_zero(self, among: DeviceArray) -> DeviceArray:
        """Try the zero points beside in those rows `among` all; return which got better, `[rows, 1]`."""
        zero, last = self._zero, (1 << self._bits) - 1
        below, above = (self._try(self._scale, self._lib.clip(zero + move, 0, last), among) for move in (-1, 1))
        return below | above

    def _try(self, scale: DeviceArray, zero: DeviceArray, among: DeviceArray | None = None) -> DeviceArray:
        """Take other levels in those rows `among` all where they are better; return which these are, `[rows, 1]`."""
        scale = _short(scale)
        errors = self._errors(scale, zero)
        better = errors < self._least if among is None else (errors < self._least) & among
        where = self._lib.where
        self._scale, self._zero = where(better, scale, self._scale), where(better, zero, self._zero)
        self._least = where(better, errors, self._least)
        return better

    def _errors(self, scale: DeviceArray, zero: DeviceArray) -> DeviceArray:
        # All in one array, which stays in a cache from one try to the next.
        steps = EvenGrid(self._bits, scale, zero).steps(self._values, self._spare)
        steps *= scale
        self._lib.subtract(self._values, steps, out=steps)
        return _dots(steps, steps)


def _dots(left: DeviceArray, right: DeviceArray) -> DeviceArray:
    """Return the products of the rows of two arrays `[rows, n]`, `[rows, 1]`."""
    return (left[:, None, :] @ right[:, :, None])[:, 0]


def _short(scale: DeviceArray) -> DeviceArray:
    """Return the scale rounded to `STEP_BITS` significant bits."""
    lib = namespace(scale)
    mantissa, exponent = lib.frexp(scale)
    return as_type(lib.ldexp(lib.round(mantissa * 2**STEP_BITS) / 2**STEP_BITS, exponent), "float32")
