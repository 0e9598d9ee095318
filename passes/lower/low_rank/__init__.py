"""Lowering of the low-rank form."""

from dtc.passes.lower.low_rank.lowering import KIND, lower, refuse

__all__ = ["KIND", "lower", "refuse"]
