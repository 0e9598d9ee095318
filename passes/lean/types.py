"""Ranks and element types of values, also where a graph does not say them."""

from __future__ import annotations

import onnx_ir as ir

from dtc.graph.inference import KnownValues


class Types:
    """What is known of the values of a model, which itself is not changed: nothing is written down in it."""

    def __init__(self, model: ir.Model) -> None:
        self._known = KnownValues(model)

    def rank(self, value: ir.Value | None) -> int | None:
        """Return the number of dimensions of a value; None if it is not known."""
        if value is None:
            return None
        shape = value.const_value.shape if value.const_value is not None else self._known.of(value).shape
        return None if shape is None else len(shape)

    def is_float32(self, value: ir.Value | None) -> bool:
        """Return whether a value is known to hold float32 numbers."""
        return value is not None and self._known.of(value).dtype == ir.DataType.FLOAT
