"""How many times faster a reader is with two factors than with the dense weight, by counting multiplications."""

from __future__ import annotations

import math

import onnx_ir as ir

from dtc.graph import CONVOLUTIONS, RECURRENT_ROLES, Reader
from dtc.passes.lower.costs import Costs
from dtc.passes.lower.low_rank.factors import LowRankSite

LANES = 16
"""Outputs that a product of ONNX Runtime computes together: a block of channels of a Conv, or columns of a MatMul."""

STEP_NODES = 12
"""Nodes of one step of an LSTM or GRU that has become a Scan, about."""


def speed_of_factors(item: LowRankSite, reader: Reader, costs: Costs, *, scanned: bool) -> float:
    """Return the speed of a reader with factors, in multiples of that with the dense weight.

    Where the model leaves rows open one is counted: nobody shall pay for a gain that others have. A convolution of
    unknown sizes has so many positions that a node more does not count.
    """
    form = item.forms[0]
    (out, inner), rank, count = form.shape, form.rank, len(item.forms)
    dense, factors = _products(out, inner), _products(rank, inner) + _products(out, rank)
    if reader.role in RECURRENT_ROLES:
        # An operator stands for the node; in a Scan each step has nodes of its own.
        return dense / (factors + (STEP_NODES * costs.node if scanned else 0))
    if reader.role in CONVOLUTIONS:
        rows = _positions(reader.node)
        if rows is None:
            return dense / factors
    else:
        rows = 1 if reader.rows is None else reader.rows
    return (costs.node + rows * count * dense) / (2 * costs.node + rows * count * factors)


def _products(out: int, inner: int) -> int:
    """Return the multiplications that a vector's product with a matrix `[out, inner]` takes as long as."""
    return LANES * math.ceil(out / LANES) * inner


def _positions(node: ir.Node) -> int | None:
    """Return at how many positions a convolution computes its outputs `[samples, channels, ...]`; None: not known."""
    shape = node.outputs[0].shape
    if shape is None or len(shape) < 3 or not all(isinstance(size, int) for size in shape[2:]):
        return None
    samples = shape[0] if isinstance(shape[0], int) else 1
    return samples * math.prod(size for size in shape[2:] if isinstance(size, int))
