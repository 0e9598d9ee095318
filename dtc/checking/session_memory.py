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

_DECODING = 10
"""Copies of a weight while a function decodes codes of eight bits: a float for each bit, the codes, and the weight."""

_TOGETHER = 1 << 28
"""Bytes that the sessions of two models may take for both to be open."""


def memory_of_whole(model: ir.Model) -> int:
    """Return the peak bytes of a process that runs a model, or what is made of it, in one session at a time."""
    # What is made of it is smaller, and decodes one weight at a time.
    return IDLE + session_memory(model) + _DECODING * max(_as_float32(model), default=0)


def session_memory(model: ir.Model) -> int:
    """Return the peak bytes that opening a session of a model adds to a process: what ONNX Runtime holds of weights."""
    return round(
        sum((_OF_HALF if tensor.dtype in _HALF else _OF_OTHERS) * tensor.nbytes for tensor in all_tensors(model))
    )


def run_together(reference: ir.Model, both: int, memory: int) -> bool:
    """Return whether a model and what was made of it may be open at once: they are not large, and fit into `memory`.

    `both` are the bytes of both sessions. One that decodes all weights when it is opened holds all copies of all of
    them at a time.
    """
    return both <= _TOGETHER and IDLE + both + _DECODING * sum(_as_float32(reference)) <= memory


def memory_of_sites(model: ir.Model) -> int:
    """Return the peak bytes of compressing and checking a model one weight at a time, by one process."""
    return IDLE + _COPIES * max(_as_float32(model), default=0)


_COPIES = 3
"""Of the largest weight in float32: as it came, as it is distorted, and while it is run alone."""


def _as_float32(model: ir.Model) -> list[int]:
    """Return the bytes of each float tensor in float32."""
    return [4 * tensor.size for tensor in all_tensors(model) if tensor.dtype.is_floating_point()]
