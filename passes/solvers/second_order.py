"""The factor of the inverse second moments, from which every error-compensating solver starts.

E. Frantar et al., GPTQ, 2022 (arXiv 2210.17323), algorithm 1: its rows say how the inputs that are not yet
treated make up for the error of one that is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

Wide = npt.NDArray[np.float64]

DAMPING = 0.01
"""Share of the mean second moment that is added to every input's own."""

BLOCK = 128
"""Columns whose errors are handed on to the rest together."""


def inverse_factor(gram: Wide) -> Wide:
    """Return the upper triangular U of `inverse(gram) = U^T U`, `gram [in, in]` damped so that it has an inverse.

    An input that is always zero gets a moment of its own, so that it has no part in the others.
    """
    moments = np.array(gram, dtype=np.float64)
    diagonal = np.diag(moments).copy()
    dead = dead_inputs(gram)
    # The row and the column of a dead input become those of the identity, times a number: it neither makes up for
    # others nor is made up for.
    moments[dead, :] = moments[:, dead] = 0
    mean = float(diagonal.mean()) or 1.0
    np.fill_diagonal(moments, np.where(dead, mean, diagonal) + DAMPING * mean)
    # With rows and columns turned round, J gram J = L L^T, so that inverse(gram) = (J L^-1 J)^T (J L^-1 J), and what
    # is lower triangular is upper when it is turned round.
    lower, _ = scipy.linalg.lapack.dtrtri(scipy.linalg.cholesky(moments[::-1, ::-1], lower=True), lower=1)
    return np.ascontiguousarray(lower[::-1, ::-1])


def dead_inputs(gram: Wide) -> npt.NDArray[np.bool_]:
    """Return which inputs are always zero."""
    return np.asarray(np.diag(gram) <= 0)
