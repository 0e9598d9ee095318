"""How far distorted weights are from what they were."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_CHUNK = 1 << 22
"""Weights whose squares are held at once, in float64."""


def relative_error(before: npt.NDArray[np.generic], after: npt.NDArray[np.float32]) -> float:
    """Return `|before - after|^2 / |before|^2` of two arrays of one shape; 0 where both are zero."""
    scale = difference = 0.0
    old, new = before.reshape(-1), after.reshape(-1)
    for start in range(0, old.size, _CHUNK):
        part = old[start : start + _CHUNK].astype(np.float32).astype(np.float64)
        scale += float(np.square(part).sum())
        difference += float(np.square(part - new[start : start + _CHUNK]).sum())
    return difference / scale if scale else float(difference > 0)
