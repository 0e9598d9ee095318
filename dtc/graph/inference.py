"""Types and shapes that a graph does not say, as ONNX infers them."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass


def infer_shapes(model: ir.Model) -> None:
    """Write types and shapes into a model, where they can be inferred.

    A model that holds maps stays as it is: onnx-ir does not read their types back.
    """
    with suppress(ir.serde.SerdeError):
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)


class KnownValues:
    """What is known of the values of a model, which itself is not changed: nothing is written down in it."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model

    def of(self, value: ir.Value) -> ir.Value:
        """Return a value of the model, or one of a copy that says more of its type and shape."""
        if value.dtype is not None and value.shape is not None:
            return value
        return self._inferred.get(str(value.name), value)

    @cached_property
    def _inferred(self) -> dict[str, ir.Value]:
        """The values of a copy in which shapes are inferred, by name; made once, for models that leave much unsaid."""
        copy = self._model.clone()
        infer_shapes(copy)
        return {str(value.name): value for node in copy.graph.all_nodes() for value in node.outputs}
