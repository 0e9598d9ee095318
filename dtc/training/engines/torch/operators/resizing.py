"""Resize, Upsample and sampling on a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dtc.training.engines.torch.calls import Call, integers_of, operator

Floats = npt.NDArray[np.float64]


@operator("Upsample", numbers=(1,))
def _upsample(call: Call, x: Tensor, given: Tensor | None = None) -> Tensor:
    scales = (call.reals("scales") or []) if given is None else [float(scale) for scale in given.tolist()]
    sizes = [math.floor(size * scale) for size, scale in zip(x.shape, scales, strict=True)]
    return _as_before_opset_11(call, x, sizes, scales)


@operator("Resize", numbers=(1, 2, 3))
def _resize(
    call: Call, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    if call.version < 11:
        assert roi is not None, "the second input, the scales before opset 11"
        return _upsample(call, x, roi)
    axes = [axis % x.dim() for axis in call.integers("axes") or range(x.dim())]
    factors, wanted = _sizes(call, x, axes, scales, sizes)
    region = None if roi is None or not roi.numel() else [float(number) for number in roi.tolist()]
    outside = None
    for place, axis in enumerate(axes):
        span = (0.0, 1.0) if region is None else (region[place], region[place + len(axes)])
        weights, beyond = _weights(_Rule(call, x.shape[axis], wanted[place], factors[place], span))
        x = _applied(x, axis, weights)
        if beyond.any():
            line = (
                torch.from_numpy(beyond).to(x.device).reshape([-1 if other == axis else 1 for other in range(x.dim())])
            )
            outside = line if outside is None else outside | line
    if outside is None:
        return x
    fill = torch.tensor(call.real("extrapolation_value"), dtype=x.dtype, device=x.device)
    return torch.where(outside, fill, x)


def _as_before_opset_11(call: Call, x: Tensor, sizes: Sequence[int], scales: Sequence[float]) -> Tensor:
    """Resize by the rules of the opsets before 11: coordinates are divided by the scale, and rounded down."""
    linear = call.text("mode", "nearest") in ("linear", "bilinear")
    for axis, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        own = x.shape[axis]
        if size == own and scale == 1:
            continue
        places = np.arange(size) / scale
        lower = np.minimum(np.floor(places).astype(np.int64), own - 1)
        share = np.clip(places - lower, 0, 1) if linear else np.zeros(size)
        upper = np.minimum(lower + 1, own - 1)
        x = _applied(x, axis, [(lower, 1 - share), (upper, share)] if linear else [(lower, np.ones(size))])
    return x


def _sizes(
    call: Call, x: Tensor, axes: Sequence[int], scales: Tensor | None, sizes: Tensor | None
) -> tuple[list[float], list[int]]:
    """Return scale and size of each axis, one of which is given."""
    own = [x.shape[axis] for axis in axes]
    if scales is not None and scales.numel():
        factors = [float(scale) for scale in scales.tolist()]
        return factors, [math.floor(size * scale) for size, scale in zip(own, factors, strict=True)]
    if sizes is None:
        raise call.refuse("it has neither scales nor sizes")
    wanted = integers_of(sizes)
    policy = call.text("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        choose = min if policy == "not_larger" else max
        scale = choose(size / old for size, old in zip(wanted, own, strict=True))
        # Halves are rounded up.
        wanted = [math.floor(scale * old + 0.5) for old in own]
        return [scale] * len(own), wanted
    return [size / old for size, old in zip(wanted, own, strict=True)], wanted


@dataclass(frozen=True)
class _Rule:
    """How one axis is resized: from `own` places to `wanted`, by `scale`, of the part `span` of it."""

    call: Call
    own: int
    wanted: int
    scale: float
    span: tuple[float, float]

    def coordinates(self) -> Floats:
        """Return where each new place lies among the old ones."""
        x, own = np.arange(self.wanted, dtype=np.float64), self.own
        # The size that the scale asks for, which rounding may have made smaller.
        length = own * self.scale
        mode = self.call.text("coordinate_transformation_mode", "half_pixel")
        if mode == "align_corners":
            return x * (own - 1) / (length - 1) if length != 1 else np.zeros_like(x)
        if mode == "asymmetric":
            return x / self.scale
        if mode == "pytorch_half_pixel" and length <= 1:
            return np.full_like(x, -0.5)
        if mode == "tf_half_pixel_for_nn":
            return (x + 0.5) / self.scale
        if mode == "tf_crop_and_resize":
            start, end = self.span
            if self.wanted == 1:
                return np.full_like(x, 0.5 * (start + end) * (own - 1))
            return start * (own - 1) + x * (end - start) * (own - 1) / (self.wanted - 1)
        half = (x + 0.5) / self.scale - 0.5
        if mode == "half_pixel_symmetric":
            # The middle of the image stays in the middle, whatever the rounding of the size took away.
            return own / 2 * (1 - self.wanted / length) + half
        return half


Taps = list[tuple[npt.NDArray[np.int64], Floats]]


def _weights(rule: _Rule) -> tuple[Taps, npt.NDArray[np.bool_]]:
    """Return the old places and their shares in each new place, and which new places lie outside of the image."""
    call, x = rule.call, rule.coordinates()
    mode = call.text("mode", "nearest")
    cropped = call.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    beyond = (x < 0) | (x > rule.own - 1) if cropped else np.zeros(x.shape, bool)
    if mode == "nearest":
        return [(np.clip(_nearest(call, x), 0, rule.own - 1), np.ones(x.shape))], beyond
    # 1. A kernel over the neighbours; with antialias it is as much wider as the image becomes smaller.
    wider = min(rule.scale, 1.0) if call.integer("antialias") else 1.0
    kernel = _triangle if mode == "linear" else _cubic(call.real("cubic_coeff_a", -0.75))
    reach = (1 if mode == "linear" else 2) / wider
    first = np.floor(x - reach).astype(np.int64) + 1
    taps, total = [], np.zeros(x.shape)
    # 2. Neighbours outside of the image are those at its edge, or do not count.
    exclude = bool(call.integer("exclude_outside"))
    for number in range(math.ceil(2 * reach) + 1):
        place = first + number
        share = kernel((place - x) * wider)
        if exclude:
            share = np.where((place < 0) | (place >= rule.own), 0.0, share)
        total += share
        taps.append((np.clip(place, 0, rule.own - 1), share))
    return [(place, share / total) for place, share in taps if share.any()], beyond


def _nearest(call: Call, x: Floats) -> npt.NDArray[np.int64]:
    mode = call.text("nearest_mode", "round_prefer_floor")
    rounded = {
        "round_prefer_floor": np.ceil(x - 0.5),
        "round_prefer_ceil": np.floor(x + 0.5),
        "floor": np.floor(x),
        "ceil": np.ceil(x),
    }[mode]
    return np.asarray(rounded, dtype=np.int64)


def _triangle(distance: Floats) -> Floats:
    return np.maximum(1 - np.abs(distance), 0.0)


def _cubic(a: float) -> Callable[[Floats], Floats]:
    """Return the cubic kernel of R. Keys: Cubic convolution interpolation, 1981."""

    def kernel(distance: Floats) -> Floats:
        d = np.abs(distance)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * (d**3 - 5 * d**2 + 8 * d - 4)
        return np.where(d <= 1, near, np.where(d < 2, far, 0.0))

    return kernel


def _applied(x: Tensor, axis: int, taps: Taps) -> Tensor:
    """Return the sum of the taps of an axis, each a lookup times a share."""
    total = None
    for places, share in taps:
        found = x.index_select(axis, torch.from_numpy(places).to(x.device))
        if not np.all(share == 1):
            line = torch.from_numpy(share).to(x.device, found.dtype if found.is_floating_point() else torch.float64)
            found = found * line.reshape([-1 if other == axis else 1 for other in range(x.dim())])
        total = found if total is None else total + found
    assert total is not None
    return total if total.dtype is x.dtype else torch.round(total).to(x.dtype)


_GRID_MODES = {
    "linear": "bilinear",
    "bilinear": "bilinear",
    "nearest": "nearest",
    "cubic": "bicubic",
    "bicubic": "bicubic",
}


@operator("GridSample")
def _grid_sample(call: Call, x: Tensor, grid: Tensor) -> Tensor:
    mode = _GRID_MODES[call.text("mode", "linear")]
    if x.dim() > 5 or (mode == "bicubic" and x.dim() > 4):
        raise call.refuse(f"the torch engine has no {mode} sampling in {x.dim() - 2} dimensions")
    pad = call.text("padding_mode", "zeros")
    return F.grid_sample(x, grid, mode, pad, bool(call.integer("align_corners")))


@operator("AffineGrid", numbers=(1,))
def _affine_grid(call: Call, theta: Tensor, size: Tensor) -> Tensor:
    return F.affine_grid(theta, integers_of(size), bool(call.integer("align_corners")))
