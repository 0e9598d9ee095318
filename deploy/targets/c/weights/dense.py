"""Weights as they are."""

from __future__ import annotations

from dtc.deploy.targets.c.weights.stored import Matrix, Stored


def dense(matrix: Matrix) -> Stored:
    """Return any matrix."""
    return Stored("dense", matrix.shape[0], matrix.shape[1], {"values": matrix}, multiply_adds=matrix.size)
