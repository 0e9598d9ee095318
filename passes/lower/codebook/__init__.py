"""Lowering of the codebook form."""

from dtc.passes.lower.codebook.lowering import KIND, OPSET, lower, refuse

__all__ = ["KIND", "OPSET", "lower", "refuse"]
