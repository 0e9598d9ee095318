"""The coefficients of planes as operators read them: stored, or computed at load from the scales of even levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.forms.even_levels import EvenLevels
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.binary.parts import Planes

Arrange: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
"""Returns numbers `[terms, rows, groups]` in the layout of a reader, where terms are the last axis but two."""


def store_alphas(e: GraphBuilder, planes: Planes, arrange: Arrange) -> ir.Value:
    """Return the coefficients of all planes, an offset being the last, in the layout and the type of operators."""
    even, dtype = planes.even, ir.DataType.from_numpy(planes.alphas.dtype)
    if even is None:
        return e.initializer("alphas", np.ascontiguousarray(arrange(planes.alphas)))
    alphas = _multiples(e, even, arrange)
    return alphas if dtype == ir.DataType.FLOAT else e.op("Cast", [alphas], to=dtype)


def _multiples(e: GraphBuilder, even: EvenLevels, arrange: Arrange) -> ir.Value:
    """Return coefficients and offset, float, as multiples of the stored scales."""
    scale = _stored(e, "scales", arrange(even.scale[None]))
    # 3 bits: 2, 1 and a half of a scale, and 3.5 less the zero point: minus a half where that is the middle, 4.
    half = np.float32(-0.5)
    if even.shift is None:
        return e.op("Mul", [scale, e.constant(np.append(even.halves, half)[:, None, None])])
    planes = e.op("Mul", [scale, e.constant(even.halves[:, None, None])])
    shift = _stored(e, "zeros", arrange(even.shift[None]))
    offset = e.op("Mul", [scale, e.op("Sub", [e.constant(half), shift])])
    return e.op("Concat", [planes, offset], axis=-3)


def _stored(e: GraphBuilder, name: str, numbers: npt.NDArray[Any]) -> ir.Value:
    stored = e.initializer(name, np.ascontiguousarray(numbers))
    return stored if numbers.dtype == np.float32 else e.op("Cast", [stored], to=ir.DataType.FLOAT)
