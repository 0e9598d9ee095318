"""A projection that a recurrent weight shares with the input weight of the next layer.

Both act on the output of the first layer, `h_t`: its Scan computes `h_t right^T` for its own next step anyway, and
gives it out (R. Prabhavalkar et al., On the compression of recurrent neural networks, 2016, arXiv 1603.08042).
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from dtc.graph.walk import PASS_THROUGH
from dtc.passes.lower.low_rank.factors import LowRankSite
from dtc.passes.prepare.constant_arrays import constant_array


class SharedProjections:
    """Which node inputs are wanted in projected form, and the projections that earlier layers gave out."""

    def __init__(self, inputs: Iterable[tuple[LowRankSite, ir.Node]]) -> None:
        self._wanted: dict[str, list[ir.Value]] = {}
        self._made: dict[tuple[ir.Value, str], ir.Value] = {}
        for item, node in inputs:
            basis, x = item.forms[0].basis, node.inputs[0]
            if basis is not None and x is not None and len(item.forms) == 1:
                self._wanted.setdefault(basis, []).append(x)

    def wanted_of(self, node: ir.Node, item: LowRankSite) -> list[ir.Value]:
        """Return the values that repeat the first output of `node`, and whose projection by `item` is wanted."""
        basis = item.forms[0].basis
        if basis is None or len(item.forms) > 1:
            return []
        return [x for x in self._wanted.get(basis, []) if _unstacked(x) is node.outputs[0]]

    def give(self, values: Iterable[ir.Value], item: LowRankSite, projection: ir.Value) -> None:
        """Note that `projection` is that of each of `values`."""
        basis = item.forms[0].basis
        self._made |= {(value, basis): projection for value in values if basis is not None}

    def get(self, x: ir.Value, item: LowRankSite) -> ir.Value | None:
        """Return the projection of `x` by `item`'s basis, if a layer before has given it out."""
        basis = item.forms[0].basis
        return self._made.get((x, basis)) if basis is not None else None


def _unstacked(value: ir.Value | None) -> ir.Value | None:
    """Follow `value [T, N, H]` upstream to the `[T, 1, N, H]` that it is made of by leaving the directions away."""
    while value is not None and (node := value.producer()) is not None and node.domain == "":
        # Axis 1 of Y [T, directions, N, H], counted from the front or from the back.
        if node.op_type == "Squeeze" and _axes(node) in ([1], [-3]):
            return node.inputs[0]
        if node.op_type not in PASS_THROUGH or value is not node.outputs[0]:
            return None
        value = node.inputs[0]
    return None


def _axes(node: ir.Node) -> list[int] | None:
    """Return the axes of a Squeeze: an attribute, or an input since operator set 13; None where they are unknown."""
    if "axes" in node.attributes:
        return list(node.attributes["axes"].as_ints())
    array = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if array is None else [int(axis) for axis in array]
