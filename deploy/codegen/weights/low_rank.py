"""Weights that are the product of two factors, each in a form of its own."""

from __future__ import annotations

from dtc.deploy.codegen.weights.stored import StoredWeight


def low_rank(left: StoredWeight, right: StoredWeight) -> StoredWeight:
    """Return `left [rows, rank] @ right [rank, cols]`."""
    return StoredWeight(
        "low_rank",
        left.rows,
        right.cols,
        arrays={},
        parts={"left": left, "right": right},
        scratch=left.cols + max(left.scratch, right.scratch),
        multiply_adds=left.multiply_adds + right.multiply_adds,
    )
