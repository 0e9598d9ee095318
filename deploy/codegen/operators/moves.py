"""Operators that move numbers: other shapes, other orders, parts, repetitions."""

from __future__ import annotations

from collections.abc import Mapping

from dtc.deploy.codegen.axes import broadcast_strides, merged, strides
from dtc.deploy.codegen.compiling import Compiler, NodeCompiling
from dtc.deploy.codegen.operators.elementwise import copy
from dtc.deploy.codegen.program import Struct, Tensor


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
    "Slice": _slice,
    "Split": _split,
    "Tile": _tile,
    "Transpose": _transpose,
}
