"""The levels that round samples of an activation with the least squared error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dtc.forms import Array

SHARES = np.linspace(0.02, 1.0, 99)
"""Shares of the observed range that are tried: to clip the end of a long tail can cost less than coarse levels."""


@dataclass(frozen=True)
class Levels:
    """Evenly spaced levels `scale * (q - zero_point)`, q from 0 to `2 ** bits - 1`; 0 is one of them."""

    scale: float
    zero_point: int
    bits: int

    def round(self, values: Array) -> Array:
        """Return the nearest level of each value, float32 of the same shape."""
        highest = (1 << self.bits) - 1
        # 2 bits, scale 0.5, zero point 1: the levels are -0.5, 0, 0.5, 1; -0.9 and 0.6 become steps 0 and 2: -0.5 and
        # 0.5.
        steps = np.clip(np.rint(values / np.float32(self.scale)) + self.zero_point, 0, highest)
        return np.asarray((steps - self.zero_point) * np.float32(self.scale), dtype=np.float32)


def fit_levels(samples: Array, low: float, high: float, bits: int) -> Levels:
    """Return the levels with the least squared error over `samples`, searched over shares of the range `low`..`high`.

    The zero point is 0 where the range does not go below 0.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return Levels(1.0, 0, bits)
    tried = [_spanning(low * share, high * share, bits) for share in SHARES]
    return min(tried, key=lambda levels: _squared_error(samples, levels))


def _spanning(low: float, high: float, bits: int) -> Levels:
    highest = (1 << bits) - 1
    # What is stored is float32, and a range can be too small for its step to be one.
    scale = max(float(np.float32((high - low) / highest)), float(np.finfo(np.float32).tiny))
    return Levels(scale, int(np.clip(round(-low / scale), 0, highest)), bits)


def _squared_error(samples: Array, levels: Levels) -> float:
    return float(np.square(levels.round(samples) - samples, dtype=np.float64).sum())
