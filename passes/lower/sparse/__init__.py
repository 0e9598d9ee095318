"""Lowering of the sparse form."""

from dtc.passes.lower.sparse.lowering import KIND, OPSET, lower, refuse

__all__ = ["KIND", "OPSET", "lower", "refuse"]
