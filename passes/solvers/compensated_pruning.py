"""Pruning in one shot, where the weights that stay make up for those that go.

E. Frantar, D. Alistarh: SparseGPT, 2023 (arXiv 2301.00774), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dtc.forms import Array
from dtc.passes.solvers.second_order import BLOCK, Wide, dead_inputs, inverse_factor
from dtc.passes.solvers.selection import Bools, keep_largest, keep_n_of_m

Choose = Callable[[Wide, int], Bools]
"""Takes scores `[rows, width]` of the columns from the given one on, and returns which weights stay."""


def prune_and_compensate(matrix: Array, gram: Wide, choose: Choose, unit: int, masked: Bools | None = None) -> Array:
    """Return `matrix [out, in]` pruned, with the rest changed so that `|X (W - W')^T|` stays small.

    Columns are treated in order: the error of pruning one is spread over the later ones by the inverse of the
    inputs' second moments `gram [in, in]`, damped by 1 % of its mean diagonal. Weights of inputs that are
    always zero go first.

    Args:
        matrix: float32, finite.
        gram: Second moments of the inputs.
        choose: Which weights of a block stay.
        unit: Columns that are chosen together: a choice is made every `unit` columns.
        masked: True where a weight has to stay pruned.
    """
    weight = matrix.astype(np.float64)
    inverse, dead = inverse_factor(gram), dead_inputs(gram)
    cols = matrix.shape[1]
    kept = np.ones(matrix.shape, dtype=bool)
    # Blocks are the largest multiple of `unit` within 128 columns, so that a choice never straddles two blocks.
    for start in range(0, cols, unit * max(1, BLOCK // unit)):
        end = min(start + unit * max(1, BLOCK // unit), cols)
        errors = np.zeros((len(weight), end - start))
        for column in range(start, end):
            if (column - start) % unit == 0:
                span = slice(column, min(column + unit, end))
                # w^2 / U[j, j]^2 is what removing a weight costs at the output when later ones make up for it
                # (algorithm 1).
                scores = np.square(weight[:, span] / np.diag(inverse)[span])
                scores[:, dead[span]] = 0
                if masked is not None:
                    # Below every other score: it goes first. The second condition is for choices that prune fewer than
                    # are masked. Though zero in the matrix, a masked weight may have taken over errors of earlier
                    # columns.
                    scores[masked[:, span]] = -1
                kept[:, span] = choose(scores, column) & (scores >= 0)
            # As in GPTQ: columns of this block take the error over at once, all later ones when the block is done.
            error = np.where(kept[:, column], 0.0, weight[:, column]) / inverse[column, column]
            weight[:, column + 1 : end] -= np.outer(error, inverse[column, column + 1 : end])
            errors[:, column - start] = error
        weight[:, end:] -= errors @ inverse[start:end, end:]
    return np.where(kept, weight, 0).astype(np.float32)


def by_share(sparsity: float) -> tuple[Choose, int]:
    """Return a choice that prunes the share `sparsity`, exact over the whole matrix, and the unit of that choice."""

    def choose(scores: Wide, column: int) -> Bools:
        rows, width = scores.shape
        # The difference of two rounded totals: over all blocks they add up to the rounded total of the matrix. A half
        # of 3 rows, column by column: 2, 1, 1, 2, or 6 of 12; each rounded by itself would be 2, or 8 of 12.
        pruned = round(sparsity * rows * (column + width)) - round(sparsity * rows * column)
        kept: Bools = keep_largest(scores, pruned)
        return kept

    return choose, BLOCK


def by_groups(n: int, m: int) -> tuple[Choose, int]:
    """Return a choice that keeps `n` of each `m` consecutive weights, and the unit of that choice."""
    return lambda scores, _: keep_n_of_m(scores, n, m), m
