"""Reductions over axes, sorting and running sums."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dtc.training.engines.torch.calls import Call, integers_of, operator
from dtc.training.engines.torch.poles import stopped, zero


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _extreme(reduce: Callable[..., Tensor], *, largest: bool) -> Callable[[Tensor, list[int], bool], Tensor]:
    """Return a reduction by an extreme that is told what an empty set gives: the least or the greatest number."""

    def apply(x: Tensor, axes: list[int], keep: bool) -> Tensor:
        if all(x.shape[axis] for axis in axes):
            if x.dtype is torch.bool:
                return reduce(x.to(torch.uint8), axes, keepdim=keep).to(torch.bool)
            return reduce(x, axes, keepdim=keep)
        shape = [1 if a in axes else s for a, s in enumerate(x.shape) if keep or a not in axes]
        if x.dtype is torch.bool:
            return torch.full(shape, not largest)
        low, high = _ends(x.dtype)
        return torch.full(shape, low if largest else high, dtype=x.dtype, device=x.device)

    return apply


def _ends(dtype: torch.dtype) -> tuple[float, float]:
    """Return the least and the greatest number of a type."""
    if dtype.is_floating_point:
        return -math.inf, math.inf
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.mean(axes, keepdim=keep) if x.is_floating_point() else x.double().mean(axes, keepdim=keep).to(x.dtype)


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep).to(x.dtype)


_REDUCTIONS: dict[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceMax": _extreme(torch.amax, largest=True),
    "ReduceMin": _extreme(torch.amin, largest=False),
    "ReduceProd": _product,
    "ReduceL1": lambda x, axes, keep: _sum(x.abs(), axes, keep),
    "ReduceL2": lambda x, axes, keep: (
        torch.linalg.vector_norm(x, 2, axes, keepdim=keep)
        if x.is_floating_point()
        else _sum(x * x, axes, keep).double().sqrt().to(x.dtype)
    ),
    "ReduceSumSquare": lambda x, axes, keep: _sum(x * x, axes, keep),
    "ReduceLogSum": lambda x, axes, keep: stopped(_sum(x, axes, keep), zero).log(),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep),
}


@operator(*_REDUCTIONS, numbers=(1,))
def _reduce(call: Call, x: Tensor, given: Tensor | None = None) -> Tensor:
    axes = call.integers("axes") if given is None else integers_of(given)
    if not axes:
        # No axes are all of them, but for nodes that say that they then do nothing.
        if call.integer("noop_with_empty_axes"):
            return _of_one(call, x)
        axes = list(range(x.dim()))
    keep = bool(call.integer("keepdims", 1))
    if not x.dim():
        return _of_one(call, x)
    return _REDUCTIONS[call.node.op_type](x, sorted(axis % x.dim() for axis in axes), keep)


def _of_one(call: Call, x: Tensor) -> Tensor:
    """Reduce sets of one number each: what the reduction does to a number, and nothing to the shape."""
    kind = call.node.op_type
    if kind in ("ReduceL1", "ReduceL2"):
        return x.abs()
    if kind == "ReduceSumSquare":
        return x * x
    return stopped(x, zero).log() if kind == "ReduceLogSum" else x


@operator("ArgMax", "ArgMin", differentiable=False)
def _place(call: Call, x: Tensor) -> Tensor:
    axis, keep = call.integer("axis"), bool(call.integer("keepdims", 1))
    find = torch.argmax if call.node.op_type == "ArgMax" else torch.argmin
    if call.integer("select_last_index"):
        return x.shape[axis] - 1 - find(x.flip(axis), axis, keepdim=keep)
    # The first of equals: torch leaves open which it is.
    extreme = x.amax(axis, keepdim=True) if call.node.op_type == "ArgMax" else x.amin(axis, keepdim=True)
    return (x == extreme).to(torch.uint8).argmax(axis, keepdim=keep)


@operator("TopK", numbers=(1,))
def _top(call: Call, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    count = call.integer("k") if k is None else integers_of(k)[0]
    axis, largest = call.integer("axis", -1), bool(call.integer("largest", 1))
    # A stable sort, because of equals the first come first.
    values, places = torch.sort(x, dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


@operator("CumSum", numbers=(1,))
def _running_sum(call: Call, x: Tensor, axis: Tensor) -> Tensor:
    return _running(call, x, integers_of(axis)[0], torch.cumsum, 0)


@operator("CumProd", numbers=(1,))
def _running_product(call: Call, x: Tensor, axis: Tensor) -> Tensor:
    return _running(call, x, integers_of(axis)[0], torch.cumprod, 1)


def _running(call: Call, x: Tensor, axis: int, run: Callable[[Tensor, int], Tensor], start: int) -> Tensor:
    backwards = bool(call.integer("reverse"))
    x = x.flip(axis) if backwards else x
    if call.integer("exclusive"):
        first = torch.full_like(x.narrow(axis, 0, 1), start)
        x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    y = run(x, axis).to(x.dtype)
    return y.flip(axis) if backwards else y
