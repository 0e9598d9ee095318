"""Weights that are sums of signs, each plane of signs with a coefficient for a row or group of columns.

Which coefficients is told by the levels of a row alone: with coefficients a and b and an offset c they are c - a - b,
c - a + b, c + a - b and c + a + b, so that every level is the least one plus some of 2a and 2b.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dtc.deploy.codegen.weights.stored import AnyArray, Matrix, Several, StoredWeight, packed

_MOST_PLANES = 4
_GROUPS = (256, 128, 64, 32)
_EXACT = 2e-6
"""How far a level may be from the sum of its parts, relative to the largest: float32 rounding of sums."""

_ALPHA_BYTES = 2

_LARGEST = 1e37
"""A number beyond which sums of coefficients and of what they are multiplied with might overflow."""

_LOOKED_UP = 16
"""Vectors from which decoding a weight costs less than the look-ups of each vector."""

_SPAN = 256
"""DTC_SIGNS_SPAN of the kernels."""


def signs(matrix: Matrix) -> StoredWeight | None:
    """Return a matrix whose rows, or groups of columns, have few levels that are sums of signs."""
    cols = matrix.shape[1]
    if not np.abs(matrix).max() <= _LARGEST:
        return None
    sizes = [math.ceil(cols / 8) * 8, *(size for size in _GROUPS if size < cols)]
    likely = [(_most_planes(matrix, size), size) for size in sizes]
    # One plane in groups of 32 is two planes in groups of 64 too, which take more bytes.
    likely.sort(key=lambda each: each[0] * (cols / 8 + _ALPHA_BYTES * math.ceil(cols / each[1])))
    tried = (_grouped(matrix, size, planes) for planes, size in likely if 1 <= planes <= _MOST_PLANES)
    return next((stored for stored in tried if stored is not None), None)


def _most_planes(matrix: Matrix, group: int) -> int:
    """Return the fewest planes that as many levels as any row of any group has could come of."""
    starts = range(0, matrix.shape[1], group)
    return max((_least_planes(matrix[:, start : start + group]) for start in starts), default=0)


def _grouped(matrix: Matrix, group: int, planes: int) -> StoredWeight | None:
    rows, cols = matrix.shape
    starts = range(0, cols, group)
    codes = np.zeros((rows, planes, cols), np.uint8)
    alphas = np.zeros((rows, len(starts), planes), np.float32)
    offsets = np.zeros((rows, len(starts)), np.float32)
    for number, start in enumerate(starts):
        for row in range(rows):
            part = matrix[row, start : start + group]
            split = _split(part, planes)
            if split is None:
                return None
            codes[row, :, start : start + group], alphas[row, number], offsets[row, number] = split
    arrays: dict[str, AnyArray | None] = {
        "codes": packed(codes.reshape(rows * planes, cols), 1),
        "alphas": None,
        "offsets": None,
        "half_alphas": None,
        "half_offsets": None,
    }
    close = _EXACT * np.abs(alphas).max(axis=2)
    halves = _halves(alphas, close[..., None]), _halves(offsets, close)
    for name, wide, half in (("alphas", alphas, halves[0]), ("offsets", offsets, halves[1])):
        if name == "alphas" or wide.any():
            arrays |= {name: wide} if half is None else {f"half_{name}": half}
    return StoredWeight(
        "signs",
        rows,
        cols,
        arrays=arrays,
        numbers={"planes": planes, "group": group},
        scratch=4 * min(_SPAN, math.ceil(cols / 8) * 8),
        multiply_adds=rows * planes * math.ceil(cols / 4),
        several=Several.decoded(matrix, least=_LOOKED_UP),
    )


def _halves(numbers: Matrix, close: Matrix) -> npt.NDArray[np.uint16] | None:
    """Return the bits of numbers as float16, as files hold coefficients, where none is farther off than `close`."""
    with np.errstate(over="ignore"):
        half = numbers.astype(np.float16)
    same = np.isfinite(half) & (np.abs(half.astype(np.float32) - numbers) <= close)
    return half.view(np.uint16) if same.all() else None


def _least_planes(part: Matrix) -> int:
    """Return the fewest planes that as many levels as any row has could come of."""
    ordered = np.sort(part, axis=1)
    most = 1 + int((np.diff(ordered, axis=1) != 0).sum(axis=1).max(initial=0))
    return max(1, math.ceil(math.log2(most)))


def _split(part: npt.NDArray[np.float32], planes: int) -> tuple[npt.NDArray[np.uint8], Matrix, float] | None:
    """Return the bits `[planes, columns]`, coefficients and offset of the numbers of a row, if they have any."""
    levels, place = np.unique(part.astype(np.float64), return_inverse=True)
    close = _EXACT * max(abs(levels[0]), abs(levels[-1]))
    steps, codes = _steps(levels - levels[0], planes, close)
    if codes is None:
        return None
    alphas = np.array(steps) / 2
    offset = levels[0] + alphas.sum()
    if abs(offset) <= close:
        offset = 0.0
    bits = (codes[place] >> np.arange(planes)[:, None] & 1).astype(np.uint8)
    return bits, alphas.astype(np.float32), float(offset)


def _steps(
    levels: npt.NDArray[np.float64], planes: int, close: float
) -> tuple[list[float], npt.NDArray[np.int64] | None]:
    """Return steps of which all levels, the first being 0, are sums, and which ones: a bit a step; None if none are.

    Each step is the least level that the steps before do not give.
    """
    steps: list[float] = []
    while True:
        sums = np.array(
            [sum(step for bit, step in enumerate(steps) if code >> bit & 1) for code in range(1 << len(steps))]
        )
        order = np.argsort(sums, kind="stable")
        near = np.clip(np.searchsorted(sums[order], levels), 1, len(sums) - 1) if len(sums) > 1 else None
        codes = np.zeros(len(levels), np.int64) if near is None else _nearest(levels, sums, order, near)
        missing = np.abs(sums[codes] - levels) > close
        if not missing.any():
            # A plane that is left over adds nothing: its coefficient is 0.
            return steps + [0.0] * (planes - len(steps)), codes
        if len(steps) == planes:
            return steps, None
        steps.append(float(levels[missing][0]))


def _nearest(
    levels: npt.NDArray[np.float64],
    sums: npt.NDArray[np.float64],
    order: npt.NDArray[np.int64],
    near: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return which sum is nearest to each level, of the two beside it."""
    below, above = order[near - 1], order[near]
    return np.where(np.abs(sums[below] - levels) <= np.abs(sums[above] - levels), below, above)
