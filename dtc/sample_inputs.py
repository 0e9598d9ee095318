"""Random inputs for a model that comes without data, of shapes and values that let the model run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.errors import DataError, ModelError
from dtc.graph.signature import Arrays, Dim, TensorSpec, input_specs
from dtc.graph.walk import all_nodes

Inputs: TypeAlias = dict[str, npt.NDArray[np.generic]]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

_TAILS = (8, 32, 64, 256, 512, 1024, 1536)
_LEADS = (3, 1)
_MOST_ELEMENTS = 1 << 28

_BATCH_NAMES = frozenset({"n", "b", "batch", "batch_size", "batchsize", "batch_dim"})

_SAME_NUMBERS = frozenset(
    {"Identity", "Dropout", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Slice", "Expand"}
)


def sample_inputs(
    model: ir.Model,
    run: Callable[[Arrays], object],
    *,
    count: int,
    seed: int,
    fixed: Arrays | None = None,
    sizes: Mapping[Dim, int] | None = None,
) -> list[Inputs]:
    """Return `count` random inputs that `run`, which runs the model, accepts.

    Free sizes are small; larger ones are tried where a model needs them. One of the inputs has a single sample where
    that is possible. Floats are Gaussian; integers that index a table lie within it, sequence lengths within the
    sequence, all others are 0 or 1. `fixed` gives some of the inputs as they are, `sizes` some of the free
    dimensions (None: those that lead without a name).

    Raises:
        DataError: `fixed` names no input, or the model accepts none of the sizes tried.
    """
    specs = input_specs(model)
    fixed = fixed or {}
    strangers = [name for name in fixed if name not in {spec.name for spec in specs}]
    if strangers:
        raise DataError(f"no input is called {strangers[0]!r}; there are: {', '.join(spec.name for spec in specs)}")
    free = [spec for spec in specs if spec.name not in fixed]
    tables, lengths = _tables(model), _lengths(model)
    rng = np.random.default_rng(seed)

    def draw(shapes: Shapes) -> Inputs:
        drawn = dict(fixed)
        shapes = dict(shapes) | {name: array.shape for name, array in fixed.items()}
        for spec in free:
            drawn[spec.name] = _draw(spec, shapes[spec.name], _limit(spec, shapes, tables, lengths), rng)
        return drawn

    # All inputs but the last have the larger leading size that works, the last one the smaller: 3, 3, 3, 1.
    known = _sizes_of(specs, fixed) | dict(sizes or {})
    usable = _usable(_sizes(free, known, _batch_dimensions(specs)), lambda shapes: run(draw(shapes)))
    return [draw(usable[min(usable) if index == count - 1 else max(usable)]) for index in range(count)]


def _usable(candidates: Iterable[tuple[_Guess, Shapes]], attempt: Callable[[Shapes], object]) -> dict[int, Shapes]:
    """Return the first shapes that the model accepts, by leading size; all have the same other sizes."""
    usable: dict[int, Shapes] = {}
    tail, problem = 0, "none has a reasonable size"
    for guess, shapes in candidates:
        # Candidates come with all leading sizes of one tail together: the first tail that works is the only one used.
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
class _Guess:
    """Sizes to try: `lead` of batches, `tail` of other free dimensions, `middle` of nameless ones in the middle."""

    lead: int
    tail: int
    middle: int

    def size(self, dim: Dim, axis: int, rank: int, batch: set[Dim]) -> int:
        # x ["N", "T", 64] with N a batch, lead 3, tail 8: N -> 3, T -> 8, 64 stays. Dimensions without a name go by
        # their place: the first leads, the last is a width, one between may be either, so both are tried.
        if isinstance(dim, int):
            return dim
        if dim is not None:
            return self.lead if dim in batch else self.tail
        if axis == 0:
            return self.lead
        return self.tail if axis == rank - 1 else self.middle


def _sizes(free: Sequence[TensorSpec], known: Mapping[Dim, int], batch: set[Dim]) -> Iterator[tuple[_Guess, Shapes]]:
    """Yield shapes of the free inputs to try, and the guess that they were made from."""
    tried: set[tuple[tuple[int, ...], ...]] = set()
    leads = (known[None],) if None in known else _LEADS
    # Small first: (8, like tail, 3), (8, like tail, 1), (8, like lead, 3), ... up to 1536, a usual width of models.
    for tail, like_tail, lead in itertools.product(_TAILS, (True, False), leads):
        guess = _Guess(lead, tail, middle=tail if like_tail else lead)
        shapes = {
            spec.name: tuple(
                known[dim] if dim in known and dim else guess.size(dim, axis, len(spec.shape), batch)
                for axis, dim in enumerate(spec.shape)
            )
            for spec in free
        }
        key = tuple(shapes.values())
        if key not in tried and all(math.prod(shape) <= _MOST_ELEMENTS for shape in key):
            tried.add(key)
            yield guess, shapes


def _batch_dimensions(specs: Sequence[TensorSpec]) -> set[Dim]:
    """Return the names of dimensions that count samples; where none has a usual name, all that lead."""
    names = {dim for spec in specs for dim in spec.shape if isinstance(dim, str)}
    usual: set[Dim] = {name for name in names if name.lower() in _BATCH_NAMES}
    return usual or {spec.shape[0] for spec in specs if spec.shape}


def _sizes_of(specs: Sequence[TensorSpec], arrays: Arrays) -> dict[Dim, int]:
    """Return the sizes of the named dimensions that given arrays have."""
    return {
        dim: size
        for spec in specs
        if spec.name in arrays
        for dim, size in zip(spec.shape, arrays[spec.name].shape, strict=False)
        if isinstance(dim, str)
    }


def _limit(
    spec: TensorSpec,
    shapes: Shapes,
    tables: Mapping[str, int],
    lengths: Mapping[str, tuple[str, int] | int],
) -> tuple[int, int]:
    """Return the half-open range of an integer input."""
    if spec.name in lengths:
        steps = lengths[spec.name]
        # The steps are a number, or the (input, axis) that has them in these shapes: lengths lie in 1..steps.
        longest = steps if isinstance(steps, int) else shapes.get(steps[0], (1,))[steps[1]]
        return 1, max(2, longest + 1)
    return 0, tables.get(spec.name, 2)


def _draw(
    spec: TensorSpec, shape: tuple[int, ...], limit: tuple[int, int], rng: np.random.Generator
) -> npt.NDArray[np.generic]:
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iub":
        return rng.integers(*limit, size=shape).astype(dtype)
    return np.asarray(rng.standard_normal(shape), dtype)


def _tables(model: ir.Model) -> dict[str, int]:
    """Return for each integer input the number of rows of the smallest table that it indexes."""
    found: dict[str, int] = {}
    for node in all_nodes(model):
        if node.domain != "" or node.op_type != "Gather" or len(node.inputs) < 2:
            continue
        source, table = _graph_input(node.inputs[1]), node.inputs[0]
        if source is None or table is None or table.shape is None:
            continue
        # Ids that index two tables, words and positions, must lie within the smaller one.
        axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
        rows = table.shape[axis]
        if isinstance(rows, int) and rows > 0:
            found[source] = min(rows, found.get(source, rows))
    return found


def _lengths(model: ir.Model) -> dict[str, tuple[str, int] | int]:
    """Return for each input of sequence lengths the number of steps, or the (input, axis) with that size."""
    inputs = {spec.name: spec for spec in input_specs(model)}
    found: dict[str, tuple[str, int] | int] = {}
    for node in all_nodes(model):
        if node.domain != "" or node.op_type not in {"LSTM", "GRU", "RNN"} or len(node.inputs) < 5:
            continue
        source, x = _graph_input(node.inputs[4]), node.inputs[0]
        if source is None or source in found:
            continue
        # X [steps, ...] of an LSTM may be deep in the graph; a symbolic size T leads back to a graph input with a T.
        steps = x.shape[0] if x is not None and x.shape is not None else 1
        places = [
            (spec.name, spec.shape.index(steps.value))
            for spec in inputs.values()
            if isinstance(steps, ir.SymbolicDim) and steps.value in spec.shape
        ]
        found[source] = steps if isinstance(steps, int) else places[0] if places else 1
    return found


def _graph_input(value: ir.Value | None) -> str | None:
    """Return the graph input whose integers `value` holds, moved or reshaped at most; None where they are computed."""
    while value is not None and not value.is_graph_input():
        node = value.producer()
        if node is None or node.domain != "" or node.op_type not in _SAME_NUMBERS:
            return None
        value = node.inputs[0]
    return None if value is None else value.name
