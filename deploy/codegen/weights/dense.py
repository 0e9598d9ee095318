"""Weights as they are."""

from __future__ import annotations

from dtc.deploy.codegen.weights.stored import Matrix, StoredWeight


def dense(matrix: Matrix) -> StoredWeight:
    """Return any matrix."""
    return StoredWeight("dense", matrix.shape[0], matrix.shape[1], {"values": matrix}, multiply_adds=matrix.size)
