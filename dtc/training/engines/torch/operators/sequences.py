"""Sequences, which are Python lists here, and optionals, which are None where they are empty."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dtc.training.engines.torch.calls import Bodies, Call, integers_of, operator


@operator("SequenceEmpty")
def _empty(_: Call) -> list[Any]:
    return []


@operator("SequenceConstruct")
def _construct(_: Call, *items: Any) -> list[Any]:
    return list(items)


@operator("SequenceAt", numbers=(1,))
def _at(_: Call, sequence: list[Any], place: Tensor) -> Any:
    return sequence[integers_of(place)[0]]


@operator("SequenceInsert", numbers=(2,))
def _insert(_: Call, sequence: list[Any], item: Any, place: Tensor | None = None) -> list[Any]:
    where = len(sequence) if place is None else integers_of(place)[0]
    where = where + len(sequence) if where < 0 else where
    return [*sequence[:where], item, *sequence[where:]]


@operator("SequenceErase", numbers=(1,))
def _erase(_: Call, sequence: list[Any], place: Tensor | None = None) -> list[Any]:
    rest = list(sequence)
    del rest[-1 if place is None else integers_of(place)[0]]
    return rest


@operator("SequenceLength", differentiable=False)
def _length(_: Call, sequence: list[Any]) -> Tensor:
    return torch.tensor(len(sequence), dtype=torch.int64)


@operator("ConcatFromSequence")
def _concat(call: Call, sequence: list[Tensor]) -> Tensor:
    axis = call.integer("axis")
    return torch.stack(sequence, axis) if call.integer("new_axis") else torch.cat(sequence, axis)


@operator("SplitToSequence", numbers=(1,))
def _split(call: Call, x: Tensor, sizes: Tensor | None = None) -> list[Tensor]:
    axis = call.integer("axis")
    if sizes is None:
        parts = list(x.split(1, axis))
        return parts if call.integer("keepdims", 1) else [part.squeeze(axis) for part in parts]
    return list(x.split(integers_of(sizes) if sizes.dim() else integers_of(sizes)[0], axis))


@operator("SequenceMap", bodies=True)
def _map(_: Call, bodies: Bodies, sequence: list[Any], *others: Any) -> tuple[Any, ...]:
    rows = []
    for place, item in enumerate(sequence):
        more = [other[place] if isinstance(other, list) else other for other in others]
        rows.append(bodies.run("body", [item, *more]))
    return tuple(list(column) for column in zip(*rows, strict=True))


@operator("Optional")
def _optional(_: Call, value: Any = None) -> Any:
    return value


@operator("OptionalGetElement")
def _get(call: Call, value: Any) -> Any:
    if value is None:
        raise call.refuse("it takes the element of an empty optional")
    return value


@operator("OptionalHasElement", differentiable=False)
def _has(_: Call, value: Any = None) -> Tensor:
    return torch.tensor(value is not None)
