"""The levels of quantized activations, fitted to samples that run through the model in the installed ONNX Runtime.

Values are drawn from several batches: a search over ranges needs the shape of a distribution, not every number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import onnx_ir as ir

from dtc.data import Source
from dtc.errors import DataError
from dtc.evaluate import stateful
from dtc.forms import AnyArray, Array
from dtc.graph import save_model
from dtc.graph.signature import input_specs
from dtc.passes.prepare.quantize_activations import Activation, Quantization
from dtc.passes.solvers.activation_levels import fit_levels
from dtc.recipe import Objective
from dtc.scratch import scratch_folder
from dtc.session import runner, session

BATCHES = 8
"""Batches that are looked at."""
SAMPLES = 1 << 15
"""Numbers that are kept of an activation of each batch, drawn at random; its range is that of all."""


def fit_activations(
    model: ir.Model, activations: Sequence[Activation], bits: int, source: Source, objective: Objective, *, seed: int
) -> list[Quantization]:
    """Return the levels of each activation that cost the least squared error, over the first batches of `source`.

    Raises:
        DataError: The samples do not fit the model, hold no batch, or give values that are not finite.
    """
    if not activations:
        return []
    # 1. A clone whose activations are outputs, written to a file that is gone once the session has read it.
    specs, clone = input_specs(model), model.clone()
    _watch(clone, [each.name for each in activations if each.like is None])
    with scratch_folder() as folder:
        path = folder / "watched.onnx"
        save_model(clone, path)
        run = runner(session(path, called="the model"))
    # 2. Range and samples of each activation, batch by batch.
    seen = {each.name: _Seen() for each in activations if each.like is None}
    # In order of the samples where state is carried; elsewhere the first may well be all of one class.
    batches = islice(source.batches(epoch=0, seed=seed, shuffle=not objective.carry), BATCHES)
    rng = np.random.default_rng(seed)
    for outputs, _ in stateful(run, batches, objective, specs):
        for name, entry in seen.items():
            entry.add(outputs[name], name, rng)
    if not all(entry.parts for entry in seen.values()):
        raise DataError(f"{source.name}: holds no batch to take the ranges of activations from")
    own = {name: fit_levels(np.concatenate(entry.parts), entry.low, entry.high, bits) for name, entry in seen.items()}
    return [Quantization(each, own[each.like or each.name]) for each in activations]


@dataclass
class _Seen:
    low: float = 0.0
    high: float = 0.0
    parts: list[Array] = field(default_factory=list)

    def add(self, values: AnyArray, name: str, rng: np.random.Generator) -> None:
        flat = values.ravel().astype(np.float32, copy=False)
        if not np.isfinite(flat).all():
            raise DataError(f"the activation {name!r} is not finite on the samples, so it cannot be quantized")
        # Zero is always within the range, because `low` and `high` start there: it has to be a level, as padding is
        # made of zeros. The range is that of all values, the samples only show how they are distributed.
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))
        self.parts.append(flat if flat.size <= SAMPLES else flat[rng.integers(flat.size, size=SAMPLES)])


def _watch(model: ir.Model, names: Sequence[str]) -> None:
    """Make values outputs of the model."""
    # Names, not values: the activations are those of the model, this is its clone.
    values = {value.name: value for node in model.graph for value in node.outputs}
    for name in names:
        value = values[name]
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
        if not value.is_graph_output():
            model.graph.outputs.append(value)
