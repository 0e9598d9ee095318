"""Which sizes the free dimensions of generated inputs have: small ones, and larger where a model needs them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dtc.errors import DataError, ModelError
from dtc.forms import AnyArray
from dtc.graph.signature import Dim, TensorSpec
from dtc.sample_inputs.derived import PAST, derived_sizes, size_by

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

_TAILS = (8, 32, 64, 256, 512, 1024, 1536)
_LEADS = (3, 1)
_MOST_ELEMENTS = 1 << 28

_BATCH_NAMES = frozenset({"n", "b", "batch", "batch_size", "batchsize", "batch_dim"})


def batch_dimension(specs: Sequence[TensorSpec]) -> Dim:
    """Return the free dimension that counts samples: the one with a usual name, else the first leading one.

    None stands for leading dimensions without a name.

    Raises:
        DataError: No dimension is free.
    """
    names = [dim for spec in specs for dim in spec.shape if isinstance(dim, str)]
    usual = [name for name in names if name.lower() in _BATCH_NAMES]
    leading = [spec.shape[0] for spec in specs if spec.shape and not isinstance(spec.shape[0], int)]
    if not usual and not leading:
        raise DataError("the model has no free batch dimension")
    return (usual or leading)[0]


@dataclass(frozen=True)
class Guess:
    """Sizes to try: of batches, of other free dimensions, and which of the two a middle one without a name has.

    `past` is the size of dimensions that count what a model was given before.
    """

    lead: int
    tail: int
    middle: int
    past: int

    def size(self, dim: Dim, axis: int, rank: int, batch: set[Dim]) -> int:
        """Return the size of a dimension; `batch` are those that count samples."""
        if isinstance(dim, int):
            return dim
        if dim is not None:
            other = self.past if PAST in dim.lower() else self.tail
            return self.lead if dim in batch else other
        if axis == 0:
            return self.lead
        return self.tail if axis == rank - 1 else self.middle


def candidate_shapes(
    free: Sequence[TensorSpec], known: Mapping[Dim, int], batch: set[Dim]
) -> Iterator[tuple[Guess, Shapes]]:
    """Yield shapes of the free inputs to try, and the guess that they were made from."""
    tried: set[tuple[tuple[int, ...], ...]] = set()
    leads = (known[None],) if None in known else _LEADS
    derived = derived_sizes(dim for spec in free for dim in spec.shape if isinstance(dim, str))
    # A model that takes no past beside new tokens takes one that is empty.
    for tail, like_tail, lead, has_past in itertools.product(_TAILS, (True, False), leads, (True, False)):
        guess = Guess(lead, tail, middle=tail if like_tail else lead, past=tail if has_past else 0)

        def size(dim: Dim, axis: int = 0, rank: int = 1, guess: Guess = guess) -> int:
            if dim in known and dim:
                return known[dim]
            if dim in derived:
                return size_by(derived[str(dim)], size)
            return guess.size(dim, axis, rank, batch)

        shapes = {
            spec.name: tuple(size(dim, axis, len(spec.shape)) for axis, dim in enumerate(spec.shape)) for spec in free
        }
        key = tuple(shapes.values())
        if key not in tried and all(math.prod(shape) <= _MOST_ELEMENTS for shape in key):
            tried.add(key)
            yield guess, shapes


def usable_shapes(candidates: Iterable[tuple[Guess, Shapes]], attempt: Callable[[Shapes], object]) -> dict[int, Shapes]:
    """Return the first shapes that work, by leading size; all of them of the same other sizes.

    Raises:
        DataError: None of the candidates works.
    """
    usable: dict[int, Shapes] = {}
    tail, problem = 0, "none has a reasonable size"
    for guess, shapes in candidates:
        if usable and guess.tail != tail:
            break
        try:
            attempt(shapes)
        except (DataError, ModelError) as error:
            problem = str(error)
            continue
        tail = guess.tail
        usable.setdefault(guess.lead, shapes)
    if not usable:
        raise DataError(f"the model runs with none of the generated inputs; give data or fixed inputs ({problem})")
    return usable


def batch_dimensions(specs: Sequence[TensorSpec]) -> set[Dim]:
    """Return the names of dimensions that count samples; where none has a usual name, all that lead."""
    names = {dim for spec in specs for dim in spec.shape if isinstance(dim, str)}
    usual: set[Dim] = {name for name in names if name.lower() in _BATCH_NAMES}
    return usual or {spec.shape[0] for spec in specs if spec.shape}


def sizes_of(specs: Sequence[TensorSpec], arrays: Mapping[str, AnyArray]) -> dict[Dim, int]:
    """Return the sizes of the named dimensions that given arrays have."""
    return {
        dim: size
        for spec in specs
        if spec.name in arrays
        for dim, size in zip(spec.shape, arrays[spec.name].shape, strict=False)
        if isinstance(dim, str)
    }
