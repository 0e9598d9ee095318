"""Ranks and element types of values, also where a graph does not say them."""

from __future__ import annotations

from functools import cached_property

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass


class Types:
    """What is known of the values of a model, which itself is not changed: nothing is written down in it."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model

    def rank(self, value: ir.Value | None) -> int | None:
        """Return the number of dimensions of a value; None if it is not known."""
        if value is None:
            return None
        shape = value.const_value.shape if value.const_value is not None else value.shape or self._known(value).shape
        return None if shape is None else len(shape)

    def is_float32(self, value: ir.Value | None) -> bool:
        """Return whether a value is known to hold float32 numbers."""
        return value is not None and (value.dtype or self._known(value).dtype) == ir.DataType.FLOAT

    def _known(self, value: ir.Value) -> ir.Value:
        return self._inferred.get(str(value.name), value)

    @cached_property
    def _inferred(self) -> dict[str, ir.Value]:
        """The values of a copy in which shapes are inferred, by name; made once, for models that leave much unsaid."""
        copy = self._model.clone()
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(copy)
        return {str(value.name): value for node in copy.graph.all_nodes() for value in node.outputs}
