"""Codes that make up for each other's errors at the output of a layer, column by column.

E. Frantar et al., GPTQ, ICLR 2023 (arXiv 2210.17323), algorithm 1, on any levels of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from dtc.forms import Array
from dtc.passes.solvers.binary_codes import Codes, Kept, Rows, Wide
from dtc.passes.solvers.second_order import BLOCK, inverse_factor


class RowLevels(Protocol):
    """What weights can be, a set of numbers for each row."""

    def nearest(self, rows: Rows, /) -> Codes:
        """Return the code of the level nearest to each weight, 0 where a weight does not count."""
        ...

    def weights(self, codes: Codes, /) -> Array:
        """Return the levels, float32 `[rows, n]`, that codes stand for."""
        ...


SomeLevels = TypeVar("SomeLevels", bound=RowLevels)


def compensated(
    matrix: Array, kept: Kept | None, group_size: int, gram: npt.NDArray[np.float64], fit: Callable[[Rows], SomeLevels]
) -> tuple[Codes, list[SomeLevels]]:
    """Return codes `[out, in]` and the levels of each group of columns that keep `X W^T` close, not `W`.

    Levels come from `fit`, on each group as it stands when its first column is reached.
    """
    cols = matrix.shape[1]
    work = (matrix if kept is None else matrix * kept).astype(np.float64)
    factor = inverse_factor(gram)
    codes = np.zeros(matrix.shape, dtype=np.uint8)
    size = group_size or cols
    found = []
    for start in range(0, cols, size):
        stop = min(start + size, cols)
        part = None if kept is None else kept[:, start:stop]
        # The columns of this group already hold what the earlier ones lost: levels are fitted to what will be coded.
        values = work[:, start:stop].astype(np.float32)
        levels = fit(Rows(values if part is None else values * part, part))
        found.append(levels)
        for first in range(start, stop, BLOCK):
            _code_columns(work, codes, factor, levels, kept, range(first, min(first + BLOCK, stop)))
    return codes, found


def _code_columns(work: Wide, codes: Codes, factor: Wide, levels: RowLevels, kept: Kept | None, columns: range) -> None:
    """Code a block of columns in place, and take their errors off the columns after them."""
    stop = columns.stop
    errors = np.zeros((len(work), len(columns)))
    # Algorithm 1: a column is coded, its error divided by the factor's diagonal, and taken off the columns behind it:
    # at once those of this block, which are coded next; all others together when the block is done.
    for at, column in enumerate(columns):
        part = None if kept is None else kept[:, column : column + 1]
        found = levels.nearest(Rows(work[:, column : column + 1].astype(np.float32), part))
        coded = levels.weights(found)[:, 0].astype(np.float64)
        if part is not None:
            coded *= part[:, 0]
        codes[:, column] = found[:, 0]
        errors[:, at] = (work[:, column] - coded) / factor[column, column]
        work[:, column + 1 : stop] -= errors[:, at, None] * factor[column, column + 1 : stop]
    work[:, stop:] -= errors @ factor[columns.start : stop, stop:]
