"""Operators that move numbers: other shapes, other orders, parts, repetitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from dtc.deploy.codegen.axes import broadcast_strides, merged, strides
from dtc.deploy.codegen.compiling import Compiler, NodeCompiling
from dtc.deploy.codegen.operators.elementwise import copy
from dtc.deploy.codegen.program import Struct, Tensor

_COORDINATES = 11
"""The opset from which Resize says where lines are taken from."""


def _reshape(at: NodeCompiling) -> None:
    at.like(at.tensor(0))


def _dropout(at: NodeCompiling) -> None:
    if at.writes(1):
        raise at.refuse("the mask as an output is not there")
    at.like(at.tensor(0))


def _transpose(at: NodeCompiling) -> None:
    x = at.tensor(0)
    perm = at.node.attributes.get_ints("perm", list(reversed(range(len(x.shape)))))
    steps = strides(x.shape)
    moved = [axis for axis in perm if x.shape[axis] != 1]
    if moved == sorted(moved):
        at.like(x)
        return
    y = at.output()
    copy(at, x, y, *_both(y, [steps[axis] for axis in perm]))


def _both(y: Tensor, x_steps: list[int]) -> tuple[list[int], list[int], list[int]]:
    sizes, (x_step, y_step) = merged(y.shape, x_steps, strides(y.shape))
    return sizes, x_step, y_step


def _expand(at: NodeCompiling) -> None:
    x = at.tensor(0)
    if x.shape == at.graph.shape(at.node.outputs[0], at):
        at.like(x)
        return
    y = at.output()
    copy(at, x, y, *_both(y, broadcast_strides(x.shape, y.shape)))


def _tile(at: NodeCompiling) -> None:
    x, y = at.tensor(0), at.output()
    times = at.constant(1, "its repeats").tolist()
    # Each axis as two: which repetition, and where in it.
    sizes = [size for pair in zip(times, x.shape, strict=True) for size in pair]
    x_steps = [step for each in strides(x.shape) for step in (0, each)]
    y_steps = [step for each, size in zip(strides(y.shape), x.shape, strict=True) for step in (each * size, each)]
    merged_sizes, (x_step, y_step) = merged(sizes, x_steps, y_steps)
    copy(at, x, y, merged_sizes, x_step, y_step)


def _concat(at: NodeCompiling) -> None:
    y = at.output()
    axis, place = at.node.attributes["axis"].as_int() % len(y.shape), 0
    for index in range(len(at.node.inputs)):
        x = at.tensor(index)
        sizes, (x_step, y_step) = merged(x.shape, strides(x.shape), strides(y.shape))
        copy(at, x, y, sizes, x_step, y_step, (0, place * strides(y.shape)[axis]))
        place += x.shape[axis]


def _part(at: NodeCompiling, x: Tensor, index: int, first: list[int], steps: list[int]) -> None:
    """Add a copy of the part of a tensor that begins at `first` and goes on by `steps`; none where it is contiguous."""
    shape = at.graph.shape(at.node.outputs[index], at)
    own = strides(x.shape)
    x_steps = [each * step for each, step in zip(own, steps, strict=True)]
    place = sum(each * start for each, start in zip(own, first, strict=True))
    sizes, (x_step, y_step) = merged(shape, x_steps, strides(shape))
    if len(sizes) == 1 and x_step == [1]:
        at.give(Tensor(x.name, x.ctype, shape, base=x, offset=str(place)), index)
    else:
        copy(at, x, at.output(index), sizes, x_step, y_step, (place, 0))


def _split(at: NodeCompiling) -> None:
    x = at.tensor(0)
    axis, place = at.node.attributes.get_int("axis", 0) % len(x.shape), 0
    for index, value in enumerate(at.node.outputs):
        first = [0] * len(x.shape)
        first[axis] = place
        place += at.graph.shape(value, at)[axis]
        _part(at, x, index, first, [1] * len(x.shape))


def _slice(at: NodeCompiling) -> None:
    x = at.tensor(0)
    starts = at.integers(1, "starts", "where it starts")
    count = len(starts or [])
    axes = at.integers(3, "axes", "its axes") or list(range(count))
    by = (at.integers(4, "steps", "its steps") if at.has(4) else None) or [1] * count
    first, steps = [0] * len(x.shape), [1] * len(x.shape)
    for axis, start, step in zip(axes, starts or [], by, strict=True):
        size = x.shape[axis % len(x.shape)]
        # As ONNX cuts what lies beyond an end: to the last number where the steps go backwards.
        first[axis % len(x.shape)] = slice(start, None, step).indices(size)[0]
        steps[axis % len(x.shape)] = step
    _part(at, x, 0, first, steps)


def _pad(at: NodeCompiling) -> None:
    x = at.tensor(0)
    pads = at.integers(1, "pads", "its pads") or []
    axes = at.integers(3, "axes", "its axes") if at.has(3) else None
    before, after = [0] * len(x.shape), [0] * len(x.shape)
    for number, axis in enumerate(axes or range(len(pads) // 2)):
        before[axis % len(x.shape)] = pads[number]
        after[axis % len(x.shape)] = pads[number + len(pads) // 2]
    # Negative ones cut off; what is left is then padded.
    cut = [max(0, -each) for each in before]
    inner = tuple(size + min(0, front) + min(0, back) for size, front, back in zip(x.shape, before, after, strict=True))
    before, after = ([max(0, each) for each in pads] for pads in (before, after))
    mode, y = at.node.attributes.get_string("mode", "constant"), at.output()
    if mode == "constant":
        given = at.constant(2, "its value") if at.has(2) else at.node.attributes.get_float("value", 0.0)
        at.call(f"dtc_fill_{y.word}", y.size, np.asarray(given).reshape(-1)[0].item(), y)
    steps, own = strides(y.shape), strides(x.shape)
    place = sum(step * count for step, count in zip(steps, before, strict=True))
    start = sum(step * count for step, count in zip(own, cut, strict=True))
    sizes, (x_step, y_step) = merged(inner, own, steps)
    if 0 not in inner:
        copy(at, x, y, sizes, x_step, y_step, (start, place))
    if mode != "constant":
        _repeat_sides(at, mode, inner, before, after, y)


def _repeat_sides(
    at: NodeCompiling, mode: str, inner: tuple[int, ...], before: list[int], after: list[int], y: Tensor
) -> None:
    """Fill what is around the middle, an axis after the other, from what is there already."""
    steps = strides(y.shape)
    for axis, size in enumerate(inner):
        # The axes in front of this one are whole, those behind it have their middle alone.
        sizes = [*y.shape[:axis], 0, *inner[axis + 1 :]]
        corner = sum(steps[later] * before[later] for later in range(axis + 1, len(inner)))
        last = before[axis] + size - 1
        ways = {
            "reflect": ((before[axis] - 1, before[axis] + 1, -1), (last + 1, last - 1, -1)),
            "edge": ((0, before[axis], 0), (last + 1, last, 0)),
            "wrap": ((0, size, 1), (last + 1, before[axis], 1)),
        }
        most = {"reflect": size - 1, "edge": math.inf if size else 0}.get(mode, size)
        if mode not in ways or max(before[axis], after[axis]) > most:
            raise at.refuse(f"pads of mode {mode} that are larger than the axis are not there")
        for count, (to, source, way) in zip((before[axis], after[axis]), ways[mode], strict=True):
            if not count:
                continue
            sizes[axis] = count
            x_step, y_step = list(steps), list(steps)
            x_step[axis] = way * steps[axis]
            if mode == "reflect" and to < source:
                # In front: from the middle outwards.
                x_step[axis], y_step[axis] = steps[axis], -steps[axis]
            less, (x_less, y_less) = merged(sizes, x_step, y_step)
            copy(at, y, y, less, x_less, y_less, (corner + source * steps[axis], corner + to * steps[axis]))


def _depth_to_space(at: NodeCompiling) -> None:
    x, y = at.tensor(0), at.output()
    n, channels, rows, cols = x.shape
    block = at.node.attributes["blocksize"].as_int()
    depth = channels // block**2
    column_first = at.node.attributes.get_string("mode", "DCR") == "DCR"
    parts = (n, block, block, depth, rows, cols) if column_first else (n, depth, block, block, rows, cols)
    order = (0, 3, 4, 1, 5, 2) if column_first else (0, 1, 4, 2, 5, 3)
    steps = strides(parts)
    sizes = [parts[axis] for axis in order]
    less, (x_step, y_step) = merged(sizes, [steps[axis] for axis in order], strides(sizes))
    copy(at, x, y, less, x_step, y_step)


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
    lines = x
    for axis, size in enumerate(y.shape):
        if size == lines.shape[axis] and scales[axis] == 1:
            continue
        places = _nearest(at, way, rounding, lines.shape[axis], size, scales[axis])
        shape = (*lines.shape[:axis], size, *lines.shape[axis + 1 :])
        result = y if shape == y.shape else at.memory(shape, x.ctype)
        take(at, lines, axis, at.integers32(places), result)
        lines = result
    if lines is x:
        at.like(x)


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


def take(at: NodeCompiling, x: Tensor, axis: int, ids: Tensor, y: Tensor) -> None:
    """Add a copy of the lines of an axis that `ids` name."""
    inner = strides(x.shape)[axis]
    size = x.shape[axis]
    members = {"outer": x.size // (size * inner), "size": size, "inner": inner, "count": ids.size}
    at.call(f"dtc_take_{x.word}_{ids.word}", Struct("dtc_take_shape", members), x, ids, y)


COMPILERS: Mapping[str, Compiler] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"), _reshape),
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": _expand,
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "Tile": _tile,
    "Transpose": _transpose,
    "Upsample": _resize,
}
