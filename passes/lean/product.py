"""The product in front of a BatchNormalization: what its channels are multiplied with, and what is added to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from dtc.graph.walk import PASS_THROUGH
from dtc.passes.lean.affine import Wide, constant
from dtc.passes.lean.types import Types

_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True, eq=False)
class ScalableProduct:
    """A product whose output one node alone reads.

    Attributes:
        node: Conv, ConvTranspose, Gemm or MatMul.
        rank: Of its output.
        bias: What is added to each channel, float64 `[channels]`, by the node or by `added`.
        added: An Add of a constant behind it; None: there is none.
        biases: The initializers that the bias is made of.
        weight: The initializer that is multiplied with; None where something else reads it too.
        perm: The transposition between the weight and the node.
    """

    node: ir.Node
    rank: int
    bias: Wide
    added: ir.Node | None
    biases: tuple[ir.Value, ...]
    weight: ir.Value | None
    perm: tuple[int, ...]

    @classmethod
    def before(cls, reader: ir.Node, channels: int, types: Types) -> ScalableProduct | None:
        """Return the product that the first input of a node is, with a constant added or not; None if it is none."""
        node, added, summand = _only_producer(reader, reader.inputs[0]), None, None
        if node is not None and node.op_type == "Add":
            added, summand = node, next((value for value in node.inputs if constant(value) is not None), None)
            node = next((found for value in added.inputs if (found := _only_producer(added, value))), None)
        if node is None or node.op_type not in _PRODUCTS or (added is not None and summand is None):
            return None
        rank, own = _rank(node, types), node.inputs[2] if len(node.inputs) > 2 else None
        parts = [_own_bias(node, own, rank), None if summand is None else _channels(constant(summand), rank)]
        given = [part for part, value in zip(parts, (own, summand), strict=True) if value is not None]
        if rank is None or any(part is None or part.size not in (1, channels) for part in given):
            return None
        bias = np.zeros(channels) + sum(part for part in given if part is not None)
        return cls(node, rank, bias, added, tuple(v for v in (own, summand) if v is not None), *_weight(node))

    def spread(self, factor: Wide) -> Wide:
        """Return factors `[channels]` in a shape that spreads over the weight's own."""
        assert self.weight is not None
        assert self.weight.const_value is not None
        shape = [int(str(self.weight.const_value.shape[axis])) for axis in self.perm]  # as the node sees it
        ones = [1] * (len(shape) - 2)
        match self.node.op_type:
            case "Conv":
                seen = factor.reshape(-1, 1, *ones)
            case "ConvTranspose":
                # [in, out of a group, kernel]: 4 inputs and 6 outputs in 2 groups are [4, 3], rows 0 and 1 of which
                # give outputs 0 to 2.
                groups = self.node.attributes.get_int("group", 1) or 1
                seen = np.repeat(factor.reshape(groups, -1), shape[0] // groups, axis=0).reshape(shape[0], -1, *ones)
            case "Gemm" if self.node.attributes.get_int("transB", 0):
                seen = factor[:, None]
            case _:
                seen = factor[None, :]
        return seen.transpose(np.argsort(self.perm))


def _only_producer(reader: ir.Node, value: ir.Value | None) -> ir.Node | None:
    """Return the standard node that writes a value as its first output, if `reader` alone reads that."""
    node = None if value is None else value.producer()
    if value is None or node is None or node.domain != "" or node.graph is not reader.graph:
        return None
    alone = value is node.outputs[0] and len(value.uses()) == 1 and not value.is_graph_output()
    return node if alone else None


def _weight(node: ir.Node) -> tuple[ir.Value | None, tuple[int, ...]]:
    """Return the initializer that a product reads and nothing else does, and the transposition between them."""
    value, perms = node.inputs[1], list[tuple[int, ...] | None]()
    while value is not None and len(value.uses()) == 1 and not value.is_graph_output():
        step = value.producer()
        if step is None:
            return _transposed(value, perms) if constant(value) is not None else (None, ())
        if step.domain != "" or step.op_type not in PASS_THROUGH | {"Transpose"} or value is not step.outputs[0]:
            break
        if step.op_type == "Transpose":
            given = step.attributes.get("perm")
            perms.append(None if given is None else tuple(given.as_ints()))
        value = step.inputs[0]
    return None, ()


def _transposed(value: ir.Value, perms: list[tuple[int, ...] | None]) -> tuple[ir.Value, tuple[int, ...]]:
    assert value.const_value is not None
    total = tuple(range(len(value.const_value.shape)))
    for perm in reversed(perms):  # the one nearest the initializer acts first
        total = tuple(total[axis] for axis in (perm or tuple(reversed(range(len(total))))))
    return value, total


def _rank(node: ir.Node, types: Types) -> int | None:
    """Return the rank of a product's output, if its channels are the ones of its weight."""
    if node.op_type == "Gemm":
        return 2
    if node.op_type == "MatMul":
        return 2 if types.rank(node.outputs[0]) == types.rank(node.inputs[1]) == 2 else None
    return types.rank(node.inputs[1])


def _own_bias(node: ir.Node, value: ir.Value | None, rank: int | None) -> Wide | None:
    """Return what a product's third input adds to each channel, `[channels]` or `[1]`."""
    array = constant(value)
    if array is None or node.op_type != "Gemm":
        return array
    vector, beta = _channels(array, rank), node.attributes.get_float("beta", 1.0)
    return vector if vector is None or beta is None else beta * vector


def _channels(array: Wide | None, rank: int | None) -> Wide | None:
    """Return an array that is added as `[channels]` or `[1]`; None if it is not the same everywhere in a channel."""
    if array is None or rank is None or array.ndim > rank:
        return None
    # [16, 1, 1] and [1, 16, 1, 1] of rank 4, and [16] of rank 2, add a number to each of 16 channels.
    shape = (1,) * (rank - array.ndim) + array.shape
    return array.reshape(-1) if array.size == shape[1] else None
