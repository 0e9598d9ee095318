"""Weights of few bits in the order of the kernels here: tiles of 32 rows, of which one instruction looks up 16."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dtc.deploy.codegen.kernel_set import KernelSet
from dtc.deploy.codegen.weights.dense import dense
from dtc.deploy.codegen.weights.encoding import FORMS, encode_smallest
from dtc.deploy.codegen.weights.signs import signs
from dtc.deploy.codegen.weights.stored import AnyArray, Matrix, Several, StoredWeight

TILE = 32
QUAD = 4
CODE_BITS = 4
"""DTC_TILE and DTC_QUAD of the kernels, and the bits of a code."""

_FEW_ROWS = 16
"""Rows below which a tile would be look-ups of nothing for the most part."""

_STRIPS = 16
"""Rows of scratch for products of several vectors: half a tile."""

_MANY_BITS = 16
"""Of indices that lead anywhere in memory."""

_TABLE_FLOATS = 4
"""Floats that each byte of sixteen numbers takes, in the table of a code."""

_TABLES = 128
_TABLE_QUADS = 32
"""Floats of the sums of four columns for all signs, of eight vectors; and of how many fours they are there at once."""

_FAR = 6.0
"""The largest number over the root mean square, up to which those of two bytes give products within 2e-4."""

_ORDER = [row + half for row in range(8) for half in (0, 8)]
"""The rows of a tile's bytes, 0 8 1 9 ...: sums of even and odd bytes are of rows in order."""

_SPAN = 8
"""The fewest codes that the kernels keep a factor for: those of a group of 32 columns."""


def encode_tiled(matrix: Matrix) -> StoredWeight:
    """Return a matrix `[out, in]` in the form that takes the fewest bytes; sums of signs and few numbers in tiles."""
    tiled = len(matrix) >= _FEW_ROWS
    stored = encode_smallest(matrix, [form for form in FORMS if tiled or form is not signs])
    if stored.form == "codebook" and stored.numbers["bits"] == _MANY_BITS and stored.numbers["block"] == 1:
        # Half the bytes, of which compression on the way leaves nothing, and several times as slow.
        stored = dense(matrix)
    few = stored.numbers
    if stored.form == "signs":
        return _signs(matrix, stored)
    if tiled and stored.form == "codebook" and few["bits"] <= CODE_BITS and few["block"] == few["tables"] == 1:
        stored = _levels(matrix, stored)
    elif stored.form == "codebook":
        # Others are multiplied row by row here.
        stored = replace(stored, scratch=0)
    if stored.form == "sparse":
        return stored
    strips = 0 if stored.form == "dense" else _STRIPS
    return replace(stored, several=Several.decoded(matrix, strips, least=4))


def _signs(matrix: Matrix, stored: StoredWeight) -> StoredWeight:
    """Return sums of signs in tiles: codes `[tiles, planes, codes, 16]`, the rows of coefficients last."""
    quads, groups = math.ceil(stored.cols / QUAD), math.ceil(stored.cols / stored.numbers["group"])
    bits = stored.arrays["codes"]
    assert bits is not None
    arrays: dict[str, AnyArray | None] = {"codes": _codes(bits, quads, stored.rows)}
    for name, numbers in stored.arrays.items():
        if name != "codes":
            arrays[name] = None if numbers is None else _rows_last(numbers.reshape(stored.rows, groups, -1))
    decoded, looked_up = Several.decoded(matrix, _STRIPS, least=4), _TABLES * min(_TABLE_QUADS, quads)
    several = replace(decoded, scratch=max(decoded.scratch, looked_up))
    return replace(stored, arrays=arrays, scratch=_scratch(2, quads) + groups, several=several)


def _levels(matrix: Matrix, stored: StoredWeight) -> StoredWeight:
    """Return a codebook of at most 16 numbers as form `levels`: codes `[tiles, codes, 16]`, and all 16 numbers."""
    indices, codewords = stored.arrays["indices"], stored.arrays["codewords"]
    assert indices is not None
    assert codewords is not None
    bits = stored.numbers["bits"]
    codes = math.ceil(stored.cols * bits / CODE_BITS)
    values = np.zeros(1 << CODE_BITS, np.float32)
    values[: codewords.size] = codewords.reshape(-1)
    arrays: dict[str, AnyArray | None] = {"codes": _codes(indices, codes, stored.rows), "values": values}
    size = np.abs(matrix).max() / np.sqrt(np.square(matrix).mean()) if matrix.any() else 0
    numbers = {"bits": bits, "bytes": 2 if size <= _FAR else 3}
    return replace(stored, form="levels", arrays=arrays, numbers=numbers, scratch=_scratch(numbers["bytes"], codes))


def _scratch(number_bytes: int, codes: int) -> int:
    """Return the floats of the tables of a row's codes, and of what is kept of each span."""
    return _TABLE_FLOATS * number_bytes * codes + math.ceil(codes / _SPAN)


def _codes(packed: AnyArray, count: int, rows: int) -> npt.NDArray[np.uint8]:
    """Return packed bits, a line or more a row, as `[tiles, lines of a row, count, 16]`, each byte of two rows."""
    bits = np.unpackbits(packed.astype(np.uint8), axis=1, count=CODE_BITS * count, bitorder="little")
    codes = np.packbits(bits.reshape(-1, CODE_BITS), axis=1, bitorder="little").reshape(rows, -1, count)
    whole = np.asarray(_whole_tiles(codes), np.uint8)
    halves = whole.reshape(-1, 2, TILE // 2, *codes.shape[1:])
    both = halves[:, 0] | halves[:, 1] << CODE_BITS
    return np.ascontiguousarray(np.moveaxis(both, 1, -1)[..., _ORDER])


def _rows_last(array: AnyArray) -> AnyArray:
    """Return `[rows, ...]` as `[tiles, ..., TILE]`."""
    whole = _whole_tiles(array)
    return np.ascontiguousarray(np.moveaxis(whole.reshape(-1, TILE, *array.shape[1:]), 1, -1))


def _whole_tiles(array: AnyArray) -> AnyArray:
    """Return rows with zeros below them, up to a whole number of tiles."""
    return np.pad(array, [(0, -len(array) % TILE), *[(0, 0)] * (array.ndim - 1)])


BROWSER = KernelSet(encode_tiled, width=8, panel=1 << 16, headers=["simd128/tiles.h"])
"""Kernels of 128-bit instructions, on a processor with caches."""
