"""Pad: constants or the tensor's own numbers around it, and less of it where pads are negative."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from dtc.deploy.codegen.axes import merged, strides
from dtc.deploy.codegen.compiling import Compiler, NodeCompiling
from dtc.deploy.codegen.operators.elementwise import copy
from dtc.deploy.codegen.program import Tensor


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


COMPILERS: Mapping[str, Compiler] = {"Pad": _pad}
