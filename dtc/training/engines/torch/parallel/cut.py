"""Where a batch can be cut into parts: which axis of each array counts the samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dtc.forms import AnyArray
from dtc.graph.signature import Arrays, TensorSpec


@dataclass(frozen=True)
class BatchCut:
    """The axis of the samples, by array; what is not named belongs to every part as it is."""

    axes: Mapping[str, int]

    def samples(self, batch: Arrays) -> int:
        """Return how many samples a batch has."""
        return min(batch[name].shape[axis] for name, axis in self.axes.items() if name in batch)

    def parts(self, batch: Arrays, count: int) -> list[dict[str, AnyArray]]:
        """Return a batch in `count` parts, whose sizes differ by one sample at most.

        The batch has as many samples at least.
        """
        cut = {
            name: np.array_split(array, count, self.axes[name]) if name in self.axes else [array] * count
            for name, array in batch.items()
        }
        return [{name: np.ascontiguousarray(parts[k]) for name, parts in cut.items()} for k in range(count)]

    def joined(self, parts: Sequence[Arrays], inputs: Mapping[str, str]) -> dict[str, AnyArray]:
        """Return outputs of the parts, as those of the whole; `inputs` names for each the input of the same axes."""
        return {
            name: np.concatenate([part[name] for part in parts], self.axes[like])
            if like in self.axes
            else parts[0][name]
            for name, like in inputs.items()
        }


def cuts(inputs: Sequence[TensorSpec], batch: Arrays) -> Iterator[BatchCut]:
    """Yield where a batch may be cut, the likeliest first: along each axis of its first input that has some.

    What has a size of the same name is cut along it; else along the same axis, or the first one, of the same length.
    """
    specs = {spec.name: spec for spec in inputs}
    first = next((spec for spec in inputs if batch[spec.name].ndim), None)
    if first is None:
        return
    # ids [T, N] and a state [2, N, H] share N and nothing else: that is tried before T.
    named = [dim for spec in inputs for dim in dict.fromkeys(spec.shape) if isinstance(dim, str)]
    dims = first.shape or (None,) * batch[first.name].ndim
    # A size that the model fixes counts features more likely than samples.
    order = sorted(range(len(dims)), key=lambda axis: (-named.count(str(dims[axis])), isinstance(dims[axis], int)))
    for axis in order:
        size, name = batch[first.name].shape[axis], dims[axis]
        if size < 2:
            continue
        found = {
            key: _axis(array, specs[key].shape if key in specs else (), size, name, axis)
            for key, array in batch.items()
        }
        yield BatchCut({key: place for key, place in found.items() if place is not None})


def _axis(array: AnyArray, dims: Sequence[object], size: int, name: object, axis: int) -> int | None:
    places = [place for place, length in enumerate(array.shape) if length == size]
    same = [place for place in places if name is not None and place < len(dims) and dims[place] == name]
    return next(iter([*same, *(place for place in places if place == axis), *places]), None)
