"""A BatchNormalization as what it is once nothing trains any more: a factor and a summand for each channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Wide = npt.NDArray[np.float64]

_LARGEST = 1e18
"""Of numbers up to here the product of two is no infinite float32."""


@dataclass(frozen=True, eq=False)
class Affine:
    """`y = factor * x + summand`, float64 `[channels]` each."""

    factor: Wide
    summand: Wide

    @classmethod
    def of(cls, node: ir.Node) -> Affine | None:
        """Return what a BatchNormalization in float32 computes; None where that changes, or is not known."""
        if not _is_settled(node):
            return None
        known = [constant(value) for value in node.inputs[1:5]]
        arrays = [array for array in known if array is not None]
        if len(arrays) < 4 or len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 1:
            return None
        scale, bias, mean, variance = arrays
        epsilon = node.attributes.get_float("epsilon", 1e-5)
        with np.errstate(all="ignore"):  # a variance below zero gives NaN, which is refused here
            factor = scale / np.sqrt(variance + (1e-5 if epsilon is None else epsilon))
            found = cls(factor, bias - factor * mean)
        largest = max(np.abs(found.factor).max(initial=0), np.abs(found.summand).max(initial=0))
        return found if largest < _LARGEST else None


def constant(value: ir.Value | None) -> Wide | None:
    """Return the array of a float32 initializer, in float64; None of anything else."""
    if value is None or not value.is_initializer() or value.is_graph_input() or value.const_value is None:
        return None
    return value.const_value.numpy().astype(np.float64) if value.dtype == ir.DataType.FLOAT else None


def _is_settled(node: ir.Node) -> bool:
    """Return whether a node is a BatchNormalization by channels and by given statistics."""
    if node.op_type != "BatchNormalization" or node.domain != "":
        return False
    # Before opset 14 a node that was training wrote its statistics as well.
    trains = node.attributes.get_int("training_mode", 0) or any(value.name for value in node.outputs[1:])
    return not trains and node.attributes.get_int("spatial", 1) == 1
