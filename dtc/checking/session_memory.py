"""How much memory a session of a model takes, told from the model's tensors before it is opened."""

from __future__ import annotations

import onnx_ir as ir

from dtc.graph.walk import all_tensors

IDLE = 250_000_000
"""Bytes of a process of dtc that has loaded ONNX Runtime and no model."""

_HALF = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})

_OF_HALF = 3.0
_OF_OTHERS = 1.15
"""Peak bytes of a session for a byte of weights: float32 is held once, as it was or packed for products, beside the one
that is being packed; the CPU has no products in float16, so that such weights are held in float32 as well."""

_DECODED = 2
"""Decoding weights when a session is opened takes up to as much again as the weights that it gives."""


def memory_of_whole(model: ir.Model) -> int:
    """Return the peak bytes of a process that runs a model, or what is made of it, in one session at a time."""
    return IDLE + _DECODED * session_memory(model)


def session_memory(model: ir.Model) -> int:
    """Return the peak bytes that opening a session of a model adds to a process: what ONNX Runtime holds of weights."""
    return round(
        sum((_OF_HALF if tensor.dtype in _HALF else _OF_OTHERS) * tensor.nbytes for tensor in all_tensors(model))
    )


def memory_of_sites(model: ir.Model) -> int:
    """Return the peak bytes of compressing and checking a model one weight at a time, by one process."""
    largest = max((tensor.size for tensor in all_tensors(model) if tensor.dtype.is_floating_point()), default=0)
    return IDLE + _COPIES * 4 * largest


_COPIES = 3
"""Of the largest weight in float32: as it came, as it is distorted, and while it is run alone."""
