"""Pooling over windows and over whole images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dtc.training.engines.torch.calls import Call, elementwise, integers_of, operator
from dtc.training.engines.torch.operators.convolution import padded, pads_of, window

_MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def _everything(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


elementwise(
    {
        "GlobalAveragePool": lambda x: x.mean(_everything(x), keepdim=True),
        "GlobalMaxPool": lambda x: x.amax(_everything(x), keepdim=True),
    }
)


@operator("GlobalLpPool")
def _global_norm(call: Call, x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, call.integer("p", 2), _everything(x), keepdim=True)


@operator("MaxPool")
def _maximum(call: Call, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    frame = _Frame(call, x)
    lowest = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    data = padded(x, frame.before, frame.after, lowest)
    if not x.is_floating_point():  # torch pools floats alone; doubles hold these integers exactly
        data = data.double()
    values, places = _MAXIMA[frame.rank](data, frame.kernel, frame.strides, 0, frame.dilations, return_indices=True)
    values = values.to(x.dtype)
    return (values, frame.unpadded(places, data.shape[2:], call.integer("storage_order"))) if call.wants(1) else values


@operator("AveragePool")
def _average(call: Call, x: Tensor) -> Tensor:
    frame = _Frame(call, x)
    total = _window_sum(padded(x, frame.before, frame.after), frame)
    if not any((*frame.before, *frame.after)):
        return total / math.prod(frame.kernel)
    # What counts: the places of the image, and the declared pads where these count too; never what ceil_mode adds.
    ones = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    inside = padded(ones, frame.before, frame.declared, float(call.integer("count_include_pad")))
    further = [whole - own for whole, own in zip(frame.after, frame.declared, strict=True)]
    return total / _window_sum(padded(inside, [0] * frame.rank, further), frame)


@operator("LpPool")
def _norm(call: Call, x: Tensor) -> Tensor:
    frame, p = _Frame(call, x), call.integer("p", 2)
    return _window_sum(padded(x.abs() ** p, frame.before, frame.after), frame) ** (1 / p)


@operator("MaxUnpool", numbers=(2,))
def _unpool(call: Call, x: Tensor, places: Tensor, shape: Tensor | None = None) -> Tensor:
    rank = x.dim() - 2
    kernel, strides = call.integers("kernel_shape") or [], window(call, "strides", rank)
    pads = call.integers("pads") or [0] * (2 * rank)
    given = zip(x.shape[2:], kernel, strides, pads[:rank], pads[rank:], strict=True)
    own = [*x.shape[:2], *[(size - 1) * stride + width - start - end for size, width, stride, start, end in given]]
    # Places count through the whole of the output that the pads tell; a larger output that is asked for holds it at its
    # start.
    flat = torch.zeros(math.prod(own), dtype=x.dtype, device=x.device)
    y = flat.scatter(0, places.reshape(-1), x.reshape(-1)).reshape(own)
    wanted = own if shape is None else integers_of(shape)
    sides = [side for size, whole in zip(reversed(own), reversed(wanted), strict=True) for side in (0, whole - size)]
    return F.pad(y, sides)


class _Frame:
    """The window of a pooling, and the pads that make torch's rounding down of the output's size the node's own."""

    def __init__(self, call: Call, x: Tensor) -> None:
        self.rank = x.dim() - 2
        self.kernel = call.integers("kernel_shape") or []
        self.strides = window(call, "strides", self.rank)
        self.dilations = window(call, "dilations", self.rank)
        self.sizes = list(x.shape[2:])
        self.before, self.declared = pads_of(call, self.sizes, self.kernel, self.strides, self.dilations)
        self.after = list(self.declared)
        if call.integer("ceil_mode"):
            self.after = [self._up(axis) for axis in range(self.rank)]

    def _up(self, axis: int) -> int:
        """Return the pad at the end with which the last window, begun inside of image and pads, is whole."""
        reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        padded_size = self.sizes[axis] + self.before[axis] + self.declared[axis]
        count = -(-(padded_size - reach) // self.strides[axis]) + 1
        if (count - 1) * self.strides[axis] >= self.sizes[axis] + self.before[axis]:
            count -= 1
        return max(self.declared[axis], (count - 1) * self.strides[axis] + reach - self.sizes[axis] - self.before[axis])

    def unpadded(self, places: Tensor, sizes: Sequence[int], storage_order: int) -> Tensor:
        """Return places of the padded image as those of ONNX, which count through samples and channels as well."""
        own, rest = [], places
        for size, start in zip(reversed(sizes), reversed(self.before), strict=True):
            own.append(rest % size - start)
            rest = rest // size
        own.reverse()
        order = range(self.rank) if not storage_order else reversed(range(self.rank))
        flat = torch.zeros_like(places)
        for axis in order:
            flat = flat * self.sizes[axis] + own[axis]
        maps = torch.arange(places.shape[0] * places.shape[1], device=places.device) * math.prod(self.sizes)
        return flat + maps.reshape(places.shape[0], places.shape[1], *[1] * self.rank)


def _window_sum(x: Tensor, frame: _Frame) -> Tensor:
    """Return the sum of each window, which may be dilated: a convolution of each channel with ones."""
    if frame.rank == 2 and frame.dilations == [1, 1]:
        return F.avg_pool2d(x, frame.kernel, frame.strides, divisor_override=1)
    maps = x.reshape(x.shape[0] * x.shape[1], 1, *x.shape[2:])
    ones = torch.ones((1, 1, *frame.kernel), dtype=x.dtype, device=x.device)
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[frame.rank]
    y = convolve(maps, ones, None, frame.strides, 0, frame.dilations)
    return y.reshape(x.shape[0], x.shape[1], *y.shape[2:])
