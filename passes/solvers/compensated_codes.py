"""Codes that make up for each other's errors at the output of a layer, column by column.

E. Frantar et al., GPTQ, ICLR 2023 (arXiv 2210.17323), algorithm 1, on the levels of a binary code instead of a grid.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dtc.forms import Array
from dtc.passes.solvers.binary_codes import Codes, Kept, Rows, SignPlanes, Wide, nearest
from dtc.passes.solvers.second_order import BLOCK, inverse_factor

Solver = Callable[[Rows], SignPlanes]


def compensated(
    matrix: Array, kept: Kept | None, group_size: int, gram: npt.NDArray[np.float64], solve: Solver
) -> tuple[Codes, Wide]:
    """Return codes `[out, in]` and alphas `[out * groups, bits]` that keep `X W^T` close, not `W`.

    Levels come from `solve`, on each group as it stands when its first column is reached.
    """
    rows, cols = matrix.shape
    work = (matrix if kept is None else matrix * kept).astype(np.float64)
    factor = inverse_factor(gram)
    codes = np.zeros(matrix.shape, dtype=np.uint8)
    size = group_size or cols
    scales = []
    for start in range(0, cols, size):
        stop = min(start + size, cols)
        part = None if kept is None else kept[:, start:stop]
        # The columns of this group already hold what the earlier ones lost: levels are fitted to what will be coded.
        values = work[:, start:stop].astype(np.float32)
        alphas = solve(Rows(values if part is None else values * part, part)).alphas
        scales.append(alphas)
        for first in range(start, stop, BLOCK):
            _code_columns(work, codes, factor, alphas, kept, range(first, min(first + BLOCK, stop)))
    # [groups] of [out, bits] -> [out, groups, bits] -> [out * groups, bits].
    return codes, np.stack(scales, axis=1).reshape(rows * len(scales), -1)


def _code_columns(work: Wide, codes: Codes, factor: Wide, alphas: Wide, kept: Kept | None, columns: range) -> None:
    """Code a block of columns in place, and take their errors off the columns after them."""
    stop = columns.stop
    errors = np.zeros((len(work), len(columns)))
    # Algorithm 1: a column is coded, its error divided by the factor's diagonal, and taken off the columns behind it:
    # at once those of this block, which are coded next; all others together when the block is done.
    for at, column in enumerate(columns):
        part = None if kept is None else kept[:, column : column + 1]
        values = work[:, column : column + 1].astype(np.float32)
        codes[:, column : column + 1] = nearest(Rows(values, part), alphas)
        signs = (codes[:, column : column + 1] >> np.arange(alphas.shape[1], dtype=np.uint8) & 1) * 2.0 - 1.0
        coded = (signs * alphas).sum(axis=1)
        if part is not None:
            coded *= part[:, 0]
        errors[:, at] = (work[:, column] - coded) / factor[column, column]
        work[:, column + 1 : stop] -= errors[:, at, None] * factor[column, column + 1 : stop]
    work[:, stop:] -= errors @ factor[columns.start : stop, stop:]
