"""Sums of signs in the order of the kernels of 128 bits: tiles of 32 rows, of which one instruction looks up 16."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dtc.deploy.codegen.weights.encoding import FORMS, encode_smallest
from dtc.deploy.codegen.weights.signs import signs
from dtc.deploy.codegen.weights.stored import AnyArray, Matrix, StoredWeight

TILE = 32
QUAD = 4
"""DTC_TILE and DTC_QUAD of the kernels."""

_FEW_ROWS = 16
"""Rows below which a tile would be look-ups of nothing for the most part."""

_TABLE_FLOATS = 8
"""Floats that the table of a quad takes."""


def encode_tiled(matrix: Matrix) -> StoredWeight:
    """Return a matrix `[out, in]` in the form that takes the fewest bytes, sums of signs in tiles."""
    forms = [form for form in FORMS if form is not signs] if len(matrix) < _FEW_ROWS else FORMS
    stored = encode_smallest(matrix, forms)
    return tiled(stored) if stored.form == "signs" else stored


def tiled(stored: StoredWeight) -> StoredWeight:
    """Return sums of signs `[rows, cols]` in tiles: codes `[tiles, planes, quads, 16]`, coefficients a tile last."""
    planes, group = stored.numbers["planes"], stored.numbers["group"]
    quads, groups = math.ceil(stored.cols / QUAD), math.ceil(stored.cols / group)
    alphas, offsets = stored.arrays["alphas"], stored.arrays["offsets"]
    assert alphas is not None
    arrays: dict[str, AnyArray | None] = {
        "codes": _codes(stored, planes, quads),
        "alphas": _last(alphas.reshape(stored.rows, groups, planes)),
        "offsets": None if offsets is None else _last(offsets.reshape(stored.rows, groups)),
    }
    return replace(stored, arrays=arrays, scratch=_TABLE_FLOATS * quads + 2 * groups)


def _codes(stored: StoredWeight, planes: int, quads: int) -> npt.NDArray[np.uint8]:
    codes = stored.arrays["codes"]
    assert codes is not None
    bits = np.unpackbits(codes.astype(np.uint8), axis=1, count=QUAD * quads, bitorder="little")
    nibbles = np.packbits(bits.reshape(-1, QUAD), axis=1, bitorder="little").reshape(stored.rows, planes, quads)
    halves = _whole_tiles(nibbles).reshape(-1, 2, TILE // 2, planes, quads)
    both = halves[:, 0] | halves[:, 1] << 4
    return np.ascontiguousarray(both.transpose(0, 2, 3, 1))


def _last(array: AnyArray) -> AnyArray:
    """Return `[rows, ...]` as `[tiles, ..., TILE]`."""
    whole = _whole_tiles(array)
    return np.ascontiguousarray(np.moveaxis(whole.reshape(-1, TILE, *array.shape[1:]), 1, -1))


def _whole_tiles(array: AnyArray) -> AnyArray:
    """Return rows with zeros below them, up to a whole number of tiles."""
    return np.pad(array, [(0, -len(array) % TILE), *[(0, 0)] * (array.ndim - 1)])
