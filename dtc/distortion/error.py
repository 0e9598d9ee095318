"""How far distorted weights are from what they were."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BLOCK = 1 << 16
"""Weights at a time, which stay in a cache: a copy of all in float64 takes twice the weights."""


def relative_error(before: npt.NDArray[np.generic], after: npt.NDArray[np.float32]) -> float:
    """Return `|before - after|^2 / |before|^2` of two arrays of one shape; 0 where both are zero."""
    scale = difference = 0.0
    flat, changed = before.reshape(-1), after.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        wide = flat[start : start + _BLOCK].astype(np.float32).astype(np.float64)
        scale += float(wide @ wide)
        wide -= changed[start : start + _BLOCK]
        difference += float(wide @ wide)
    return difference / scale if scale else float(difference > 0)
