"""Looking up and writing elements by their places."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dtc.training.engines.torch.calls import Call, integers_of, operator

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("Gather")
def _gather(call: Call, x: Tensor, places: Tensor) -> Tensor:
    axis = call.integer("axis") % x.dim()
    places = _from_the_front(places, x.shape[axis])
    # Rows of a table: an embedding, whose gradient torch sums up faster than that of any other lookup.
    if axis == 0 and x.dim() == 2 and x.is_floating_point():
        return F.embedding(places, x)
    found = x.index_select(axis, places.reshape(-1))
    return found.reshape((*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))


@operator("GatherElements")
def _gather_elements(call: Call, x: Tensor, places: Tensor) -> Tensor:
    axis = call.integer("axis") % x.dim()
    return x.gather(axis, _from_the_front(places, x.shape[axis]))


@operator("GatherND")
def _gather_nd(call: Call, x: Tensor, places: Tensor) -> Tensor:
    shared = call.integer("batch_dims")
    # The leading axes that both share are one; then each sample is looked up by itself.
    samples = x.shape[:shared]
    data = x.reshape(-1, *x.shape[shared:])
    index = places.reshape(len(data), -1, places.shape[-1])
    depth = places.shape[-1]
    own = torch.arange(len(data), device=x.device)[:, None].expand(index.shape[:2])
    found = data[(own, *(_from_the_front(index[..., axis], data.shape[axis + 1]) for axis in range(depth)))]
    return found.reshape(*samples, *places.shape[shared:-1], *x.shape[shared + depth :])


@operator("ScatterElements", "Scatter")
def _scatter_elements(call: Call, x: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    axis = call.integer("axis") % x.dim()
    places, reduction = _from_the_front(places, x.shape[axis]), call.text("reduction", "none")
    if reduction == "none":
        return x.scatter(axis, places, updates)
    return x.scatter_reduce(axis, places, updates, _REDUCTIONS[reduction])


@operator("ScatterND")
def _scatter_nd(call: Call, x: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    depth, reduction = places.shape[-1], call.text("reduction", "none")
    index = tuple(_from_the_front(places[..., axis], x.shape[axis]) for axis in range(depth))
    if reduction in ("none", "add"):
        return x.index_put(index, updates, accumulate=reduction == "add")
    # By the place in the flattened leading axes, each with the rest of the axes as a row.
    flat = torch.zeros_like(index[0])
    for axis in range(depth):
        flat = flat * x.shape[axis] + index[axis]
    rows = x.reshape(-1, *x.shape[depth:]).reshape(len(x.reshape(-1, *x.shape[depth:])), -1)
    new = updates.reshape(flat.numel(), -1)
    target = flat.reshape(-1, 1).expand(-1, rows.shape[1])
    return rows.scatter_reduce(0, target, new, _REDUCTIONS[reduction]).reshape(x.shape)


@operator("TensorScatter")
def _tensor_scatter(call: Call, past: Tensor, update: Tensor, starts: Tensor | None = None) -> Tensor:
    axis = call.integer("axis", -2) % past.dim()
    size, count = past.shape[axis], update.shape[axis]
    first = torch.zeros(len(past), dtype=torch.int64, device=past.device) if starts is None else starts.to(torch.int64)
    places = first[:, None] + torch.arange(count, device=past.device)[None]
    if call.text("mode", "linear") == "circular":
        places = places.remainder(size)
    shape = [len(past), *[1] * (past.dim() - 1)]
    shape[axis] = count
    return past.scatter(axis, places.reshape(shape).expand_as(update), update)


@operator("OneHot", differentiable=False, numbers=(1,))
def _one_hot(call: Call, places: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    count, axis = integers_of(depth)[0], call.integer("axis", -1)
    index = places.to(torch.int64)
    classes = torch.arange(count, device=index.device)
    axis = axis + index.dim() + 1 if axis < 0 else axis
    hot = torch.where(index < 0, index + count, index).unsqueeze(axis) == classes.reshape(
        [count if a == axis else 1 for a in range(index.dim() + 1)]
    )
    return torch.where(hot, values[1], values[0])


@operator("Compress")
def _compress(call: Call, x: Tensor, condition: Tensor) -> Tensor:
    if not call.has("axis"):
        x = x.reshape(-1)
    axis = call.integer("axis")
    return x.index_select(axis, condition.reshape(-1).nonzero().reshape(-1))


@operator("NonZero", differentiable=False)
def _nonzero(_: Call, x: Tensor) -> Tensor:
    return x.nonzero().transpose(0, 1)


@operator("Unique", differentiable=False)
def _unique(call: Call, x: Tensor) -> tuple[Tensor, ...]:
    axis = call.integer("axis") if call.has("axis") else None
    data = (x.reshape(-1) if axis is None else x).cpu()
    axis = 0 if axis is None else axis % x.dim()
    values, inverse, counts = torch.unique(data, sorted=True, return_inverse=True, return_counts=True, dim=axis)
    # Where each value occurs first: places are written backwards, so that the first is written last.
    places = torch.arange(len(inverse) - 1, -1, -1)
    first = torch.empty(len(counts), dtype=torch.int64)
    for place in places.tolist():
        first[inverse[place]] = place
    if not call.integer("sorted", 1):
        order = first.argsort()
        values, first, counts = values.index_select(axis, order), first[order], counts[order]
        inverse = order.argsort()[inverse]
    return values, first, inverse, counts


def _from_the_front(places: Tensor, size: int) -> Tensor:
    """Return places counted from the front: -1 is the last."""
    wide = places.to(torch.int64)
    return torch.where(wide < 0, wide + size, wide)
