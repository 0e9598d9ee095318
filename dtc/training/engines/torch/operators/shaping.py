"""Operators that rearrange, cut, join and make tensors."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dtc.training.engines.torch.calls import Call, integers_of, operator
from dtc.training.engines.torch.dtypes import constant_of, dtype_of


@operator("Reshape", numbers=(1,))
def _reshape(call: Call, x: Tensor, shape: Tensor) -> Tensor:
    sizes = integers_of(shape)
    if not call.integer("allowzero"):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    if -1 in sizes and not x.numel():  # torch cannot tell the open size of nothing
        known = math.prod(size for size in sizes if size != -1)
        sizes = [0 if size == -1 and known else size for size in sizes]
    return x.reshape(sizes)


@operator("Flatten")
def _flatten(call: Call, x: Tensor) -> Tensor:
    axis = call.integer("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Transpose")
def _transpose(call: Call, x: Tensor) -> Tensor:
    return x.permute(call.integers("perm") or list(reversed(range(x.dim()))))


@operator("Squeeze", numbers=(1,))
def _squeeze(call: Call, x: Tensor, given: Tensor | None = None) -> Tensor:
    axes = call.integers("axes") if given is None else integers_of(given)
    if axes is None:
        return x.squeeze()
    return x.squeeze(tuple(axes)) if axes else x


@operator("Unsqueeze", numbers=(1,))
def _unsqueeze(call: Call, x: Tensor, given: Tensor | None = None) -> Tensor:
    axes = (call.integers("axes") or []) if given is None else integers_of(given)
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def _concat(call: Call, *parts: Tensor) -> Tensor:
    return torch.cat(parts, call.integer("axis", 1))


@operator("Split", numbers=(1,))
def _split(call: Call, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = call.integer("axis")
    sizes = call.integers("split") if given is None else integers_of(given)
    if sizes is None:
        # Even parts, the last one smaller where they do not fit: 7 in 4 are 2, 2, 2, 1.
        count, size = len(call.node.outputs), x.shape[axis]
        each = -(-size // count)
        sizes = [max(min(each, size - number * each), 0) for number in range(count)]
    return torch.split(x, sizes, axis)


@operator("Slice", numbers=(1, 2, 3, 4))
def _slice(
    call: Call,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    if starts is None or ends is None:
        first, last = call.integers("starts") or [], call.integers("ends") or []
        places = call.integers("axes") or list(range(len(first)))
    else:
        first, last = integers_of(starts), integers_of(ends)
        places = list(range(len(first))) if axes is None else integers_of(axes)
    strides = [1] * len(first) if steps is None else integers_of(steps)
    for axis, start, end, step in zip(places, first, last, strides, strict=True):
        x = _cut(x, axis, start, end, step)
    return x


def _cut(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    # Python's own rules for a slice are those of ONNX, but that an end of -1 going backwards means the last element.
    size = x.shape[axis]
    if step > 0:
        begin, stop, _ = slice(start, end, step).indices(size)
        index: list[slice] = [slice(None)] * (axis % x.dim()) + [slice(begin, max(begin, stop), step)]
        return x[tuple(index)]
    begin = min(max(start + size if start < 0 else start, -1), size - 1)
    stop = min(max(end + size if end < 0 else end, -1), size - 1)
    places = torch.arange(begin, stop, step, device=x.device) if begin > stop else torch.arange(0, device=x.device)
    return x.index_select(axis, places)


@operator("Pad", numbers=(1, 2, 3))
def _pad(
    call: Call, x: Tensor, given: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    pads = (call.integers("pads") or []) if given is None else integers_of(given)
    mode = call.text("mode", "constant")
    places = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in integers_of(axes)]
    before, after = pads[: len(places)], pads[len(places) :]
    if mode != "constant":
        for axis, start, end in zip(places, before, after, strict=True):
            x = x.index_select(axis, _mirrored(x.shape[axis], start, end, mode, x.device))
        return x
    fill = call.real("value") if value is None else value.item()
    sides = [0] * (2 * x.dim())
    for axis, start, end in zip(places, before, after, strict=True):
        sides[2 * (x.dim() - 1 - axis) : 2 * (x.dim() - axis)] = [start, end]
    if x.dtype is torch.bool:
        return F.pad(x.to(torch.uint8), sides, value=int(fill)).to(torch.bool)
    return F.pad(x, sides, value=fill)


def _mirrored(size: int, before: int, after: int, mode: str, device: torch.device) -> Tensor:
    """Return which places of an axis stand in the padded one."""
    places = torch.arange(-before, size + after, device=device)
    if mode == "edge":
        return places.clamp(0, size - 1)
    if mode == "wrap":
        return places.remainder(size)
    # reflect: 0 1 2 3 goes on as 2 1 0 1 ..., a wave of period 2 (size - 1).
    period = max(2 * (size - 1), 1)
    wave = places.remainder(period)
    return torch.minimum(wave, period - wave) if size > 1 else torch.zeros_like(places)


@operator("Expand", numbers=(1,))
def _expand(_: Call, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(integers_of(shape))))


@operator("Tile", numbers=(1,))
def _tile(_: Call, x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(integers_of(repeats))


@operator("Shape", differentiable=False)
def _shape(call: Call, x: Tensor) -> Tensor:
    end = call.integer("end") if call.has("end") else x.dim()
    return torch.tensor(list(x.shape)[call.integer("start") : end], dtype=torch.int64)


@operator("Size", differentiable=False)
def _size(_: Call, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


@operator("Constant", differentiable=False)
def _constant(call: Call) -> Tensor:
    attributes = call.node.attributes
    if "value" in attributes:
        return constant_of(attributes["value"].as_tensor())
    if "value_float" in attributes:
        return torch.tensor(call.real("value_float"), dtype=torch.float32)
    if "value_floats" in attributes:
        return torch.tensor(call.reals("value_floats"), dtype=torch.float32)
    if "value_int" in attributes:
        return torch.tensor(call.integer("value_int"), dtype=torch.int64)
    if "value_ints" in attributes:
        return torch.tensor(call.integers("value_ints"), dtype=torch.int64)
    raise call.refuse("the torch engine has no constants of strings, nor sparse ones")


@operator("ConstantOfShape", differentiable=False, numbers=(0,))
def _constant_of_shape(call: Call, shape: Tensor) -> Tensor:
    sizes = integers_of(shape)
    if not call.has("value"):
        return torch.zeros(sizes)
    value = constant_of(call.node.attributes["value"].as_tensor())
    return torch.full(sizes, value.item(), dtype=value.dtype)


@operator("Range", differentiable=False, numbers=(0, 1, 2))
def _range(_: Call, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    count = max(math.ceil((limit.item() - start.item()) / delta.item()), 0)
    return (torch.arange(count, device=start.device) * delta + start).to(start.dtype)


@operator("EyeLike", differentiable=False)
def _eye(call: Call, x: Tensor) -> Tensor:
    dtype = dtype_of(call.integer("dtype")) if call.has("dtype") else x.dtype
    rows, columns = torch.arange(x.shape[0])[:, None], torch.arange(x.shape[1])[None]
    return (columns - rows == call.integer("k")).to(dtype)


@operator("Trilu", numbers=(1,))
def _triangle(call: Call, x: Tensor, k: Tensor | None = None) -> Tensor:
    diagonal = 0 if k is None else integers_of(k)[0]
    return x.triu(diagonal) if call.integer("upper", 1) else x.tril(diagonal)


@operator("DepthToSpace")
def _depth_to_space(call: Call, x: Tensor) -> Tensor:
    block, (n, c, h, w) = call.integer("blocksize"), x.shape
    if call.text("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, block)
    parts = x.reshape(n, block, block, c // block**2, h, w)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, c // block**2, h * block, w * block)


@operator("SpaceToDepth")
def _space_to_depth(call: Call, x: Tensor) -> Tensor:
    block, (n, c, h, w) = call.integer("blocksize"), x.shape
    if call.text("mode", "DCR") == "CRD":
        return F.pixel_unshuffle(x, block)
    parts = x.reshape(n, c, h // block, block, w // block, block)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, c * block**2, h // block, w // block)


@operator("ReverseSequence")
def _reverse_sequence(call: Call, x: Tensor, lengths: Tensor) -> Tensor:
    steps, samples = call.integer("time_axis", 0), call.integer("batch_axis", 1)
    moved = x.movedim((steps, samples), (0, 1))
    return reversed_steps(moved, lengths).movedim((0, 1), (steps, samples))


def reversed_steps(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return `x` `[T, N, ...]` with the first `lengths` `[N]` steps of each sample in reverse, the others in place."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0], device=x.device)[:, None]
    lengths = lengths.to(device=x.device, dtype=torch.int64)[None]
    places = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x.gather(0, places.reshape(*places.shape, *[1] * (x.dim() - 2)).expand_as(x))


@operator("CenterCropPad", numbers=(1,))
def _center_crop_pad(call: Call, x: Tensor, shape: Tensor) -> Tensor:
    sizes = integers_of(shape)
    for axis, size in zip(call.integers("axes") or range(x.dim()), sizes, strict=True):
        x = _centered(x, axis % x.dim(), size)
    return x


def _centered(x: Tensor, axis: int, size: int) -> Tensor:
    own = x.shape[axis]
    if own >= size:
        return x.narrow(axis, (own - size) // 2, size)
    sides = [0] * (2 * x.dim())
    start = (size - own) // 2
    sides[2 * (x.dim() - 1 - axis) : 2 * (x.dim() - axis)] = [start, size - own - start]
    return F.pad(x, sides)
