"""Quantizers of activations: QuantizeLinear and DequantizeLinear, with a Clip between them where levels are fewer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Integer: TypeAlias = npt.NDArray[np.integer[Any]]
"""An integer array of no dimension, `[]`."""


@dataclass(frozen=True, eq=False)
class Quantizer:
    """An activation that is rounded to the nearest of evenly spaced levels, `y = s (clip(round(x / s) + z) - z)`.

    Attributes:
        data: What is rounded, float32.
        scale: The initializer s, one float32 number; quantizers may share it.
        zero_point: The integer z.
        lowest: The lowest level, an integer.
        highest: The highest level.
        integers: The values between the two operators.
        quantize: The QuantizeLinear.
        dequantize: Every DequantizeLinear that reads it.
    """

    data: ir.Value
    scale: ir.Value
    zero_point: int
    lowest: int
    highest: int
    integers: tuple[ir.Value, ...]
    quantize: ir.Node
    dequantize: tuple[ir.Node, ...]

    @property
    def levels(self) -> tuple[float, int, int, int]:
        """Scale, zero point, lowest and highest level: quantizers of the same four numbers compute the same."""
        return _number(self.scale), self.zero_point, self.lowest, self.highest


def find_quantizers(graph: ir.Graph) -> list[Quantizer]:
    """Return the quantizers of activations of a graph, in order; bodies of other nodes are not searched.

    A quantizer is left out where its scale is computed, has more than one number, is no float32, or is another
    initializer for each of the operators, and where anything else reads its integers. Quantized weights are no
    activations.
    """
    found = [each for each in _all_quantizers(graph) if all(node.inputs[1] is each.scale for node in each.dequantize)]
    # A scale is a parameter that may be trained or shared: something else that reads it would change along.
    own = {node for each in found for node in (each.quantize, *each.dequantize)}
    return [each for each in found if all(use.node in own for use in each.scale.uses())]


def share_scales(graph: ir.Graph) -> bool:
    """Let both operators of each quantizer read one scale initializer, in place; return whether any were changed."""
    modified = False
    for each in _all_quantizers(graph):
        for node in each.dequantize:
            if node.inputs[1] is not each.scale:
                node.replace_input_with(1, each.scale)
                modified = True
    return modified


def bypass_quantizers(model: ir.Model) -> int:
    """Bypass every quantizer of the main graph, in place, and return their number: readers get the unrounded data."""
    quantizers = find_quantizers(model.graph)
    for each in quantizers:
        for node in each.dequantize:
            ir.convenience.replace_all_uses_with(node.outputs[0], each.data)
    return len(quantizers)


def _all_quantizers(graph: ir.Graph) -> list[Quantizer]:
    """Return the quantizers of a graph, also those whose two operators read different initializers of equal scale."""
    return [found for node in graph if (found := _quantizer(graph, node)) is not None]


def _quantizer(graph: ir.Graph, node: ir.Node) -> Quantizer | None:
    # Example: x -> QuantizeLinear(s, 0: uint8) -> Clip(0, 15) -> DequantizeLinear(s, 0) -> y, 4 bits: levels 0 to 15.
    # 1. One scale for the whole tensor, in the arithmetic of float32: no blocks, no precision of its own.
    if not _is(node, "QuantizeLinear") or any(name in node.attributes for name in ("block_size", "precision")):
        return None
    # 2. The data is a float32 activation. Data with a constant value is a weight.
    data, scale = node.inputs[:2]
    if data is None or data.dtype not in (ir.DataType.FLOAT, None) or data.const_value is not None:
        return None
    # 3. The scale is an initializer of this very graph, one number.
    if scale is None or not _is_one_float(scale) or scale.graph is not graph:
        return None
    zero = _zero_point(node)
    if zero is None:
        return None
    # 4. The levels are all of the integer type (uint8: 0 to 255), or those that a lone Clip behind it leaves.
    lowest, highest = int(np.iinfo(zero.dtype).min), int(np.iinfo(zero.dtype).max)
    integers, readers = [node.outputs[0]], _readers(node.outputs[0])
    if len(readers) == 1 and _is(readers[0], "Clip"):
        bounds = _bounds(readers[0])
        if bounds is None:
            return None
        lowest, highest = max(lowest, bounds[0]), min(highest, bounds[1])
        integers.append(readers[0].outputs[0])
        readers = _readers(readers[0].outputs[0])
    # 5. Everything that reads the integers turns them back, by the same scale and zero point.
    if not readers or not all(_undoes(reader, scale, zero) for reader in readers) or lowest >= highest:
        return None
    # 6. Neither integers nor results are outputs of the graph, whose names and values must stay.
    if any(value.is_graph_output() for value in (*integers, *(reader.outputs[0] for reader in readers))):
        return None
    return Quantizer(data, scale, int(zero), lowest, highest, tuple(integers), node, tuple(readers))


def _is(node: ir.Node, op_type: str) -> bool:
    return node.op_type == op_type and node.domain == ""


def _readers(value: ir.Value) -> list[ir.Node]:
    return [use.node for use in value.uses()]


def _is_one_float(value: ir.Value) -> bool:
    tensor = value.const_value
    return value.is_initializer() and tensor is not None and tensor.dtype == ir.DataType.FLOAT and tensor.size == 1


def _zero_point(node: ir.Node) -> Integer | None:
    """Return the zero point of either operator as a scalar; None where it is computed, one of many, or no integer."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        # By ONNX's rule a left-out zero point is 0 of uint8; `output_dtype` could say another type.
        return np.zeros((), np.uint8) if not node.attributes.get_int("output_dtype", 0) else None
    tensor = ir.convenience.get_const_tensor(node.inputs[2])
    array = None if tensor is None else tensor.numpy()
    return array.reshape(()) if array is not None and array.size == 1 and array.dtype.kind in "iu" else None


def _bounds(clip: ir.Node) -> tuple[int, int] | None:
    """Return the bounds of a Clip of integers; a bound that is left out is the limit of int64."""
    bounds = [np.iinfo(np.int64).min, np.iinfo(np.int64).max]
    for index, value in _given(clip.inputs[1:3]):
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is None:
            return None
        bounds[index] = int(tensor.numpy().item())
    return bounds[0], bounds[1]


def _given(values: Sequence[ir.Value | None]) -> Iterator[tuple[int, ir.Value]]:
    return ((index, value) for index, value in enumerate(values) if value is not None)


def _undoes(node: ir.Node, scale: ir.Value, zero: Integer) -> bool:
    if not _is(node, "DequantizeLinear"):
        return False
    own, given = _zero_point(node), node.inputs[1]
    if own is None or own != zero or given is None:
        return False
    return given is scale or (_is_one_float(given) and _number(given) == _number(scale))


def _number(value: ir.Value) -> float:
    assert value.const_value is not None
    return float(value.const_value.numpy().item())
