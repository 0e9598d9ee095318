"""Weights as numbers of evenly spaced levels, nearest to them or making up for errors, and the form of the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from dtc.device_arrays import DeviceArray, on_host
from dtc.forms import Array, BinaryCode
from dtc.forms.binary import pack_bits
from dtc.passes.method import Grams, Weights
from dtc.passes.options import ScaleType
from dtc.passes.solvers.binary_codes import Codes, Kept, Rows, Wide
from dtc.passes.solvers.compensated_codes import compensated
from dtc.passes.solvers.even_grids import EvenGrid
from dtc.passes.solvers.groups import grouped

Fit: TypeAlias = Callable[[Rows], EvenGrid]
"""Finds the levels of each row."""


def code_evenly(w: Weights, size: int, fit: Fit, grams: Grams | None) -> list[tuple[Codes, EvenGrid]]:
    """Return codes `[out, in]` of each matrix of a site, and the levels of all its groups of `size`; 0: whole rows.

    With second moments `grams` the codes keep what the matrices' outputs need.
    """
    masks = [None] * len(w.matrices) if w.mask is None else list(w.mask)
    if grams is None:
        return [_nearest(matrix, kept, size, fit) for matrix, kept in zip(w.matrices, masks, strict=True)]
    parts = zip(on_host(w.matrices), masks, grams, strict=True)
    return [_compensated(matrix, kept, size, gram, fit) for matrix, kept, gram in parts]


def _nearest(matrix: DeviceArray, kept: Kept | None, size: int, fit: Fit) -> tuple[Codes, EvenGrid]:
    """Return codes `[out, in]`, and the levels of all groups, `out * groups` rows."""
    # With a mask, or with a last group that is short, rows are put together in host memory.
    plain = kept is None and (not size or matrix.shape[1] % size == 0)
    rows = grouped(matrix if plain else on_host(matrix), kept, size)
    grid = fit(rows)
    codes = on_host(grid.nearest(rows))
    return codes.reshape(len(matrix), -1)[:, : matrix.shape[1]], grid.on_host()


def _compensated(matrix: Array, kept: Kept | None, size: int, gram: Wide, fit: Fit) -> tuple[Codes, EvenGrid]:
    """Return as `_nearest` does what keeps `X W^T` close, `gram` being `X^T X`."""
    codes, grids = compensated(matrix, kept, size, gram, fit)
    # [groups] of [out, 1] -> [out, groups] -> [out * groups, 1].
    scale, zero = (np.hstack([getattr(grid, name) for grid in grids]).reshape(-1, 1) for name in ("scale", "zero"))
    return codes, EvenGrid(grids[0].bits, scale, zero)


def even_form(levels: Codes, grid: EvenGrid, size: int, dtype: ScaleType) -> BinaryCode:
    """Return the form of codes `[out, in]` in groups of `size`, with coefficients of a type that holds them."""
    out, cols = levels.shape
    powers = range(grid.bits - 1, -1, -1)  # the largest coefficient first
    # q = sum of 2^p b_p with b_p = (1 + sign_p) / 2. So s (q - z) is the sum of s 2^p / 2 * sign_p, the planes, and
    # s ((2^bits - 1) / 2 - z), the offset. 2 bits, z = 2, q = 3: s + s / 2 - s / 2 = s.
    planes = np.stack([pack_bits((levels >> np.uint8(p) & 1).view(np.bool_)) for p in powers])
    alphas = np.stack([(grid.scale * np.float32(2.0**p / 2)).reshape(out, -1) for p in powers])
    offset = (grid.scale * (np.float32((2.0**grid.bits - 1) / 2) - grid.zero)).reshape(out, -1)
    return BinaryCode(planes, alphas.astype(dtype), cols, size, offset=offset.astype(dtype))
