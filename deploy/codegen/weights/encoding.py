"""Choosing the form of a weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from dtc.deploy.codegen.weights.codebook import codebook, row_tables
from dtc.deploy.codegen.weights.dense import dense
from dtc.deploy.codegen.weights.signs import signs
from dtc.deploy.codegen.weights.sparse import sparse
from dtc.deploy.codegen.weights.stored import Matrix, StoredWeight

Encoder: TypeAlias = Callable[[Matrix], StoredWeight]
"""What stores a matrix `[out, in]` in a form of the kernels."""

Form: TypeAlias = Callable[[Matrix], StoredWeight | None]
"""What finds a matrix to be of a form; None where it is not."""

FORMS: Sequence[Form] = (sparse, signs, codebook, row_tables)
"""All that are tried."""

_SMALL = 256
"""Numbers of a weight that are stored as they are: another form would save little, and take its code."""


def encode_smallest(matrix: Matrix, forms: Sequence[Form] = FORMS) -> StoredWeight:
    """Return a matrix `[out, in]` in the form, of several or dense, that takes the fewest bytes for the same numbers.

    Numbers are the same but for the float32 rounding of sums of signs.
    """
    matrix = np.ascontiguousarray(matrix, np.float32)
    if matrix.size < _SMALL:
        return dense(matrix)
    found = [stored for form in forms if (stored := form(matrix)) is not None]
    return min([*found, dense(matrix)], key=lambda each: each.nbytes)
