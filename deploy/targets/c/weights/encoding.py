"""Choosing the form of a weight."""

from __future__ import annotations

import numpy as np

from dtc.deploy.targets.c.weights.codebook import codebook, row_tables
from dtc.deploy.targets.c.weights.dense import dense
from dtc.deploy.targets.c.weights.signs import signs
from dtc.deploy.targets.c.weights.sparse import sparse
from dtc.deploy.targets.c.weights.stored import Matrix, StoredWeight

FORMS = (sparse, signs, codebook, row_tables)

_SMALL = 256
"""Numbers of a weight that are stored as they are: another form would save little, and take its code."""


def encode(matrix: Matrix) -> StoredWeight:
    """Return a matrix `[out, in]` in the form that takes the fewest bytes and gives the same numbers.

    Numbers are the same but for the float32 rounding of sums of signs.
    """
    matrix = np.ascontiguousarray(matrix, np.float32)
    if matrix.size < _SMALL:
        return dense(matrix)
    found = [stored for form in FORMS if (stored := form(matrix)) is not None]
    return min([*found, dense(matrix)], key=lambda each: each.nbytes)
