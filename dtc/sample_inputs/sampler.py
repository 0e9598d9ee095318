"""Inputs for a model of which nobody gave any: random, but such that the model can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from dtc.errors import DataError
from dtc.graph.signature import Dim, TensorSpec, input_specs
from dtc.sample_inputs.ranges import IntegerRanges
from dtc.sample_inputs.shapes import Shapes, batch_dimensions, candidate_shapes, sizes_of, usable_shapes
from dtc.sample_inputs.values import USUAL, draw_value, filled, fitting

Inputs: TypeAlias = dict[str, Any]
"""Arrays by name; a list of them for a sequence."""


class InputSampler:
    """Draws inputs of the sizes that a model accepts.

    Free sizes are small; larger ones are tried where the model needs them. Integers that index a table lie within it,
    sequence lengths within the sequence, all others are 0 or 1. Strings are short words, sequences have two items.

    Attributes:
        free: The inputs that are drawn.
    """

    def __init__(
        self,
        model: ir.Model,
        run: Callable[[Inputs], object],
        *,
        seed: int,
        fixed: Mapping[str, Any] | None = None,
        sizes: Mapping[Dim, int] | None = None,
    ) -> None:
        """Find sizes that `run`, which runs the model, accepts.

        `fixed` gives some of the inputs as they are, `sizes` some of the free dimensions (None: those that lead without
        a name).

        Raises:
            DataError: `fixed` names no input or holds what one cannot be, or the model accepts none of the sizes tried.
        """
        specs = {spec.name: spec for spec in input_specs(model)}
        strangers = [name for name in fixed or {} if name not in specs]
        if strangers:
            raise DataError(f"no input is called {strangers[0]!r}; there are: {', '.join(specs)}")
        self._fixed: Inputs = {name: fitting(specs[name], value) for name, value in (fixed or {}).items()}
        self.free: tuple[TensorSpec, ...] = tuple(spec for spec in specs.values() if spec.name not in self._fixed)
        self._ranges = IntegerRanges.of(model)
        self._rng = np.random.default_rng(seed)
        arrays = {name: value for name, value in self._fixed.items() if isinstance(value, np.ndarray)}
        self._given_shapes = {name: array.shape for name, array in arrays.items()}
        known = sizes_of(list(specs.values()), arrays) | dict(sizes or {})
        self._usable = usable_shapes(
            candidate_shapes(self.free, known, batch_dimensions(list(specs.values()))),
            lambda shapes: run(self._draw(shapes, {}, {})),
        )

    def draws(self, count: int) -> list[Inputs]:
        """Return `count` inputs; the last one has a single sample where that is possible."""
        return [self.draw(single=index == count - 1) for index in range(count)]

    def draw(
        self,
        kinds: Mapping[str, str] | None = None,
        held: Mapping[str, object] | None = None,
        *,
        single: bool = False,
    ) -> Inputs:
        """Return one input: floats of the `kinds` named by input, inputs of `held` full of one value each."""
        return self._draw(self._usable[min(self._usable) if single else max(self._usable)], kinds or {}, held or {})

    def _draw(self, shapes: Shapes, kinds: Mapping[str, str], held: Mapping[str, object]) -> Inputs:
        drawn = dict(self._fixed)
        shapes = dict(shapes) | self._given_shapes
        for spec in self.free:
            shape = shapes[spec.name]
            limits = self._ranges.range(spec.name, shapes)
            value = draw_value(spec, shape, limits, self._rng, kinds.get(spec.name, USUAL))
            drawn[spec.name] = filled(spec, shape, held[spec.name]) if spec.name in held else value
        return drawn


def sample_inputs(
    model: ir.Model,
    run: Callable[[Inputs], object],
    *,
    count: int,
    seed: int,
    fixed: Mapping[str, Any] | None = None,
    sizes: Mapping[Dim, int] | None = None,
) -> list[Inputs]:
    """Return `count` random inputs that `run`, which runs the model, accepts; see `InputSampler`.

    Raises:
        DataError: `fixed` names no input, or the model accepts none of the sizes tried.
    """
    return InputSampler(model, run, seed=seed, fixed=fixed, sizes=sizes).draws(count)
