"""Axes of tensors: their strides, and fewer of them that mean the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST = 6
"""DTC_AXES of the kernels."""


def strides(shape: Sequence[int]) -> list[int]:
    """Return how far apart neighbours are in each axis, in numbers: shape 2 3 4 has 12 4 1."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def broadcast_strides(shape: Sequence[int], to: Sequence[int]) -> list[int]:
    """Return the strides of a tensor that is repeated to a shape: 0 in axes where it is."""
    own = [1] * (len(to) - len(shape)) + list(shape)
    return [0 if size == 1 else step for size, step in zip(own, strides(own), strict=True)]


def merged(sizes: Sequence[int], *steps: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """Return the fewest axes over which the same numbers are met in the same order, at least one.

    Sizes 2 3 4 with steps 12 4 1 for one tensor are one axis of 24 and step 1; with steps 12 4 1 and 0 4 1 they are two
    axes, 2 and 12.
    """
    kept = [axis for axis, size in enumerate(sizes) if size != 1]
    found = [[sizes[axis], *(each[axis] for each in steps)] for axis in kept] or [[1, *(0 for _ in steps)]]
    whole = [found[0]]
    for size, *inner in found[1:]:
        if all(outer == step * size for outer, step in zip(whole[-1][1:], inner, strict=True)):
            whole[-1] = [whole[-1][0] * size, *inner]
        else:
            whole.append([size, *inner])
    return [each[0] for each in whole], [[each[place + 1] for each in whole] for place in range(len(steps))]
