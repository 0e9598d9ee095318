"""Resize and Upsample by the nearest number, an axis after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from dtc.deploy.codegen.compiling import Compiler, NodeCompiling
from dtc.deploy.codegen.operators.moves import take
from dtc.deploy.codegen.program import Tensor

_COORDINATES = 11
"""The opset from which Resize says where lines are taken from."""


def _resize(at: NodeCompiling) -> None:
    x, y = at.tensor(0), at.output()
    attributes = at.node.attributes
    if attributes.get_string("mode", "nearest") != "nearest":
        raise at.refuse("there is mode nearest alone")
    way = attributes.get_string("coordinate_transformation_mode", "half_pixel")
    rounding = attributes.get_string("nearest_mode", "round_prefer_floor")
    if at.opset < _COORDINATES:
        way, rounding = "asymmetric", "floor up, ceil down"
    if attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise at.refuse("sizes that keep the aspect ratio are not there")
    scales = _scales(at, x, y)
    if x.shape == y.shape:
        at.like(x)  # as in ONNX Runtime, whatever the scales are
        return
    axes = [axis for axis, size in enumerate(y.shape) if size != x.shape[axis] or scales[axis] != 1]
    lines = x
    for axis in axes:
        size = y.shape[axis]
        places = _nearest(at, way, rounding, x.shape[axis], size, scales[axis])
        shape = (*lines.shape[:axis], size, *lines.shape[axis + 1 :])
        result = y if axis == axes[-1] else at.memory(shape, x.ctype)
        take(at, lines, axis, at.integers32(places), result)
        lines = result


def _scales(at: NodeCompiling, x: Tensor, y: Tensor) -> list[float]:
    """Return the scales as they are given, or as the sizes imply them."""
    place = {"Upsample": 1}.get(at.node.op_type, 2 if len(at.node.inputs) > 2 else 1)
    given = at.array(place)
    if given is not None and given.size == len(x.shape):
        return [float(each) for each in given]
    if given is not None and given.size:
        raise at.refuse("scales of some axes are not there")
    return [big / small for big, small in zip(y.shape, x.shape, strict=True)]


def _nearest(at: NodeCompiling, way: str, rounding: str, size: int, count: int, scale: float) -> npt.NDArray[np.int32]:
    """Return which line each new one is taken from, as ONNX Runtime computes it: each step rounded to float32."""
    new, by, half = np.arange(count, dtype=np.float32), np.float32(scale), np.float32(0.5)
    ways = {
        "half_pixel": (new + half) / by - half,
        "pytorch_half_pixel": (new + half) / by - half if count > 1 else 0 * new,
        "asymmetric": new / by,
        "align_corners": new * np.float32(size - 1) / np.float32(count - 1) if count > 1 else 0 * new,
    }
    roundings: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
        "round_prefer_floor": lambda place: np.ceil(place - 0.5),
        "round_prefer_ceil": lambda place: np.floor(place + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
        "floor up, ceil down": np.ceil if scale < 1 else np.floor,
    }
    if way not in ways or rounding not in roundings:
        raise at.refuse(f"coordinates by {way}, {rounding} are not there")
    places = ways[way].astype(np.float64)  # exact, so that halves are told from what is next to them
    return np.asarray(np.clip(roundings[rounding](places), 0, size - 1), np.int32)


COMPILERS: Mapping[str, Compiler] = {"Resize": _resize, "Upsample": _resize}
