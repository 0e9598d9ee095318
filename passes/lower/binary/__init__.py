"""Lowering of the binary form."""

from dtc.passes.lower.binary.lowering import KIND, OPSET, lower, refuse

__all__ = ["KIND", "OPSET", "lower", "refuse"]
