"""Weights as they are."""

from __future__ import annotations

from dtc.deploy.codegen.weights.stored import Matrix, Several, StoredWeight


def dense(matrix: Matrix) -> StoredWeight:
    """Return any matrix."""
    rows, cols = matrix.shape
    several = Several.decoded(matrix)
    return StoredWeight("dense", rows, cols, {"values": matrix}, multiply_adds=matrix.size, several=several)
