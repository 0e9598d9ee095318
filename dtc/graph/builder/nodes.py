"""The builder of nodes: standard nodes in the form that a model's operator set gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.graph.builder.names import NodeNames


class Builder:
    """Collects new nodes, in the order in which they run; constants are nodes among the others.

    Attributes:
        opset: Version of the default operator set that the nodes are written in.
        prefix: What the nodes stand for: a node that they replace, or a weight that they decode.
        dtype: Type of fractional constants.
        nodes: The nodes so far.
    """

    def __init__(self, names: NodeNames, opset: int, *, prefix: str = "", dtype: ir.DataType | None = None) -> None:
        """Begin with no nodes; `dtype` is the type of values that are given no other, which without it have none."""
        self.opset = opset
        self.prefix = prefix
        self.dtype = dtype or ir.DataType.FLOAT
        self.nodes: list[ir.Node] = []
        self._names = names
        self._typed = dtype is not None

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        *,
        domain: str = "",
        label: str | None = None,
        dtype: ir.DataType | None = None,
        **attributes: Any,
    ) -> ir.Value:
        """Add a node of one output and return the output.

        Args:
            op_type: Of the operator.
            inputs: None where an optional one is left out.
            domain: Of the operator; the standard ones have none.
            label: Part of the node's name that says what the node is for, where that is worth its bytes.
            dtype: Of the output, where that is not the builder's.
            attributes: What `ir.node` takes: plain values, graphs, `ir.Attr`; an `ir.RefAttr` hands on an attribute of
                the function that is built.
        """
        return self._add(op_type, inputs, attributes, domain=domain, label=label, dtype=dtype)[0]

    def ops(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        count: int,
        *,
        label: str | None = None,
        **attributes: Any,
    ) -> list[ir.Value]:
        """Add a standard node of `count` outputs and return the outputs in order."""
        return self._add(op_type, inputs, attributes, count=count, label=label)

    def _add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: dict[str, Any],
        *,
        domain: str = "",
        count: int = 1,
        label: str | None = None,
        dtype: ir.DataType | None = None,
    ) -> list[ir.Value]:
        node = ir.node(op_type, inputs, attributes or None, domain=domain, num_outputs=count)
        self._names.give(node, self.prefix, label)
        if dtype is not None or self._typed:
            for value in node.outputs:
                value.type = ir.TensorType(dtype or self.dtype)
        self.nodes.append(node)
        return list(node.outputs)

    def constant(self, numbers: npt.ArrayLike) -> ir.Value:
        """Return a small constant: of the type of an array, of the builder's for Python's fractions, else int64."""
        # 1.5 -> the builder's float type; [1, 2] and [] -> int64; np.float32(1) keeps float32.
        array = np.asarray(numbers)
        if isinstance(numbers, int | float | list | tuple):
            fractional = array.dtype.kind == "f" and array.size  # an empty list is float64 to NumPy
            array = array.astype(self.dtype.numpy() if fractional else np.int64)
        return self._stored(array)

    def _stored(self, array: npt.NDArray[Any]) -> ir.Value:
        tensor = ir.tensor(array)
        return self.op("Constant", [], value=tensor, dtype=tensor.dtype if self._typed else None)

    # Operators that are written otherwise in older operator sets.

    def gemm(self, a: ir.Value, b: ir.Value, c: ir.Value | None = None, **attributes: Any) -> ir.Value:
        """Add a Gemm; `c` became optional with operator set 11."""
        if c is None and self.opset < 11:
            c = self.constant(np.zeros(1, (b.dtype or self.dtype).numpy()))
        return self.op("Gemm", [a, b] if c is None else [a, b, c], **attributes)

    def split(self, value: ir.Value, sizes: Sequence[int], axis: int) -> list[ir.Value]:
        """Add a Split into parts of the given sizes, which became an input with operator set 13."""
        if self.opset < 13:
            return self.ops("Split", [value], len(sizes), axis=axis, split=list(sizes))
        return self.ops("Split", [value, self.constant(list(sizes))], len(sizes), axis=axis)

    def split_evenly(self, value: ir.Value, count: int, axis: int) -> list[ir.Value]:
        """Add a Split into `count` equal parts, of which operator set 18 wants the number; one part is the value."""
        if count == 1:
            return [value]
        numbers: dict[str, Any] = {"num_outputs": count} if self.opset >= 18 else {}
        return self.ops("Split", [value], count, axis=axis, **numbers)

    def clip(self, value: ir.Value, low: float, high: float) -> ir.Value:
        """Add a Clip to `[low, high]`, whose bounds became inputs with operator set 11."""
        if self.opset < 11:
            return self.op("Clip", [value], min=low, max=high)
        return self.op("Clip", [value, self.constant(low), self.constant(high)])

    def slice(
        self, value: ir.Value, start: int, stop: int, *, axis: int = 0, dtype: ir.DataType | None = None
    ) -> ir.Value:
        """Add a Slice of one dimension, the first if none is given; its ends became inputs with operator set 10."""
        if self.opset < 10:
            return self.op("Slice", [value], starts=[start], ends=[stop], axes=[axis], dtype=dtype)
        ends = [self.constant([start]), self.constant([stop])]
        return self.op("Slice", [value, *ends, *([self.constant([axis])] if axis else [])], dtype=dtype)

    def squeeze(self, value: ir.Value, axes: Sequence[int]) -> ir.Value:
        """Add a Squeeze, whose axes became an input with operator set 13."""
        return self._over("Squeeze", value, axes, since=13)

    def unsqueeze(self, value: ir.Value, axes: Sequence[int]) -> ir.Value:
        """Add an Unsqueeze, whose axes became an input with operator set 13."""
        return self._over("Unsqueeze", value, axes, since=13)

    def mean(self, value: ir.Value, axes: Sequence[int]) -> ir.Value:
        """Add a ReduceMean that leaves the axes out; axes became an input with operator set 18."""
        return self._over("ReduceMean", value, axes, since=18, keepdims=0)

    def total(self, value: ir.Value, axes: Sequence[int], *, keepdims: int = 1) -> ir.Value:
        """Add a ReduceSum, whose axes became an input with operator set 13."""
        return self._over("ReduceSum", value, axes, since=13, keepdims=keepdims)

    def _over(self, op_type: str, value: ir.Value, axes: Sequence[int], *, since: int, **attributes: Any) -> ir.Value:
        """Add a node over axes that are an attribute, and an input `since` some operator set."""
        if self.opset < since:
            return self.op(op_type, [value], axes=list(axes), **attributes)
        return self.op(op_type, [value, self.constant(list(axes))], **attributes)

    def concat(self, values: Sequence[ir.Value], axis: int) -> ir.Value:
        """Add a Concat; of a single value return the value without a node."""
        return values[0] if len(values) == 1 else self.op("Concat", values, axis=axis)

    def leading_sizes(self, value: ir.Value) -> ir.Value:
        """Add nodes for the shape of `value` without its last size, int64."""
        shape = self.op("Shape", [value], dtype=ir.DataType.INT64)
        return self.slice(shape, 0, -1, dtype=ir.DataType.INT64)
