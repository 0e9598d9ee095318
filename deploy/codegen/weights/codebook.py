"""Weights with few different values, or blocks of values, in all or in each row."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dtc.deploy.codegen.weights.stored import Matrix, Several, StoredWeight, index_bits, packed

_BLOCKS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 18, 25, 49)
"""Sizes that are tried: those that a user asks for, and kernels of convolutions."""
_MOST = 1 << 16
_MOST_OF_ROW = 16

_CODE_BITS = 4
_SUMS = 1024
_FEW_ROWS = 24
"""Bits of codes, DTC_CODEBOOK_SUMS and FEW_ROWS of the kernel."""

_SOME = 8
"""Rows that are looked at before all are."""


def codebook(matrix: Matrix) -> StoredWeight | None:
    """Return a matrix whose blocks are few different ones, in the blocks that take the fewest bytes."""
    found = [stored for block in _BLOCKS if (stored := _in_blocks(matrix, block)) is not None]
    return min(found, key=lambda each: each.nbytes, default=None)


def row_tables(matrix: Matrix) -> StoredWeight | None:
    """Return a matrix whose rows have at most `_MOST_OF_ROW` different values each."""
    rows, cols = matrix.shape
    count = max(len(np.unique(row)) for row in matrix[:_SOME])
    if count <= _MOST_OF_ROW:
        count = max(len(np.unique(row)) for row in matrix)
    if count > _MOST_OF_ROW or cols < 2 * count:
        return None
    places = [np.unique(row, return_inverse=True) for row in matrix]
    tables = np.zeros((rows, count), np.float32)
    for row, (values, _) in enumerate(places):
        tables[row, : len(values)] = values
    indices = np.stack([place for _, place in places])
    return _stored(matrix, indices, tables, 1, rows)


def _in_blocks(matrix: Matrix, block: int) -> StoredWeight | None:
    rows, cols = matrix.shape
    whole = cols // block
    if not whole:
        return None
    blocks = np.ascontiguousarray(matrix[:, : whole * block]).reshape(-1, block)
    # As bytes: one comparison a block instead of one a number.
    words, indices = np.unique(blocks.view(f"V{4 * block}").reshape(-1), return_inverse=True)
    if len(words) > min(_MOST, len(blocks) / 2):
        return None
    codewords = words.view(np.float32).reshape(-1, block)
    indices = indices.reshape(rows, whole)
    if whole * block < cols:
        tails, codewords = _tails(matrix[:, whole * block :], codewords)
        indices = np.concatenate([indices, tails[:, None]], axis=1)
    return None if len(codewords) > _MOST else _stored(matrix, indices, codewords, block, 1)


def _tails(parts: Matrix, codewords: Matrix) -> tuple[npt.NDArray[np.int64], Matrix]:
    """Return the codeword that begins as each row's last, shorter block, and all codewords, those included."""
    width = parts.shape[1]
    known = {word[:width].tobytes(): place for place, word in reversed(list(enumerate(codewords)))}
    missing: list[npt.NDArray[np.float32]] = []
    found = np.empty(len(parts), np.int64)
    for row, part in enumerate(parts):
        key = np.ascontiguousarray(part).tobytes()
        if key not in known:
            known[key] = len(codewords) + len(missing)
            missing.append(np.concatenate([part, np.zeros(codewords.shape[1] - width, np.float32)]))
        found[row] = known[key]
    return found, np.concatenate([codewords, *(each[None] for each in missing)])


def _stored(matrix: Matrix, indices: npt.NDArray[np.int64], codewords: Matrix, block: int, tables: int) -> StoredWeight:
    count = codewords.shape[1] if tables > 1 else len(codewords)
    bits = index_bits(count)
    rows, cols = matrix.shape
    return StoredWeight(
        "codebook",
        rows,
        cols,
        arrays={"indices": packed(indices, bits), "codewords": codewords},
        numbers={"bits": bits, "block": block, "tables": tables, "count": count},
        scratch=0 if tables > 1 else _scratch(rows, cols, bits, block, count),
        multiply_adds=matrix.size,
        several=Several.decoded(matrix),
    )


def _scratch(rows: int, cols: int, bits: int, block: int, count: int) -> int:
    """Return the floats that a product takes for the sums of all codes: as `sums_pay` of the kernel says."""
    if bits <= _CODE_BITS:
        codes = math.ceil(math.ceil(cols * bits / (block * _CODE_BITS)) / 2) * 2
        return min(_SUMS, codes << _CODE_BITS) if rows >= _FEW_ROWS else 0
    pays = count <= _SUMS and block > 1 and rows > count
    return min(_SUMS // count, math.ceil(cols / block)) * count if pays else 0
