"""Runs of a model from a changed site on; what enters there is kept from runs without the change.

Sites are taken in the order of the model: what enters at the next one is computed from what entered at the last one,
always in the same steps, so that numbers do not depend on how much was kept, or on which sites were asked for before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from dtc.checking.sites.cones import Cone, cone
from dtc.data import Batch
from dtc.errors import DataError, ModelError
from dtc.graph import Site, save_model
from dtc.graph.signature import Arrays, Dim
from dtc.recipe import Objective
from dtc.scratch import scratch_folder
from dtc.search.cuts import find_cuts, kept_values
from dtc.session import Outputs, runner, session, signature

_Run: TypeAlias = Callable[[Arrays], Outputs]


class Onward:
    """A model that is run from one of its sites on.

    Args:
        model: The model; whoever changes a site puts its weight in behind `entering`, and takes it out again.
        sites: Its sites.
        batches: What it is run on.
        objective: Which output is run for. Where state is carried there is no cut: what enters depends on the change.
        room: Bytes that may be kept; batches beyond that are run from the inputs on again.

    Attributes:
        model: As given.
        sites: As given.
    """

    def __init__(
        self, model: ir.Model, sites: Sequence[Site], batches: Sequence[Batch], objective: Objective, *, room: int
    ) -> None:
        outputs = {value.name: value for value in model.graph.outputs}
        self.model, self.sites = model, sites
        self._batches, self._room = batches, room
        self._output = outputs.get(objective.output, model.graph.outputs[0])
        self._cuts = {} if objective.carry else find_cuts(model, sites, self._output)
        self._stages = kept_values(self._cuts)
        self._types: dict[ir.Value, tuple[ir.TypeProtocol, ir.Shape]] = {}
        self._kept: list[Arrays] = []
        self._at, self._count = -1, 0

    def entering(self, site: str, count: int) -> Iterator[Arrays] | None:
        """Return what enters at a site for each of the first batches; None where the model has to be run as a whole."""
        if site not in self._cuts:
            return None
        place = list(self._cuts).index(site)
        try:
            self._advance(place, count)
            # Opened now, while no weight is changed.
            steps = [self._step(stage) for stage in range(place + 1)] if len(self._kept) < count else []
        except (ModelError, DataError):
            # A part that does not run alone, as where a sequence enters: from there on wholes are run.
            self._cuts = dict(list(self._cuts.items())[:place])
            self._at, self._count, self._kept = -1, 0, []
            return None
        return self._entering(steps, count)

    def rest(self, site: str) -> _Run:
        """Return a function from what enters at a site to the output, with the weights that the model has now.

        Raises:
            ModelError: ONNX Runtime refuses it.
        """
        return self._open(cone([self._output], self._cuts[site]))

    def _entering(self, steps: Sequence[_Run], count: int) -> Iterator[Arrays]:
        kept = self._kept[:count]
        yield from kept
        for batch in self._batches[len(kept) : count]:
            arrays: Arrays = {}
            for step in steps:
                arrays = step({**batch, **arrays})
            yield arrays

    def _advance(self, place: int, count: int) -> None:
        """Bring as many of the first batches as there is room for to a place, one at the least."""
        if place < self._at or count > self._count:
            self._at, self._count, self._kept = -1, count, [{}] * count
        for stage in range(self._at + 1, place + 1):
            step, room = self._step(stage), self._room
            for number, arrays in enumerate(self._kept):
                found = step({**self._batches[number], **arrays})
                room -= sum(array.nbytes for array in found.values())
                if number and room < 0:
                    del self._kept[number:]
                    break
                self._kept[number] = found
            self._at = stage

    def _step(self, stage: int) -> _Run:
        """Return a function from what there is at the stage before, and a batch, to what there is to be at a stage."""
        before = {*self.model.graph.inputs, *(self._stages[stage - 1] if stage else ())}
        made = [value for value in self._stages[stage] if value not in before]
        run = self._open(cone(made, before)) if made else lambda _: {}

        def step(arrays: Arrays) -> Outputs:
            found = {**arrays, **run(arrays)}
            return {str(value.name): found[str(value.name)] for value in self._stages[stage]}

        return step

    def _open(self, part: Cone) -> _Run:
        """Return a function that runs a part of the model."""
        view = ir.GraphView(
            part.stops,
            part.outputs,
            nodes=tuple(part.nodes),
            initializers=part.initializers,
            opset_imports=self.model.graph.opset_imports,
            name=self.model.graph.name,
        )
        graph = view.clone()
        for inner, outer in zip(graph.inputs, part.stops, strict=True):
            inner.type, inner.shape = self._types.get(outer, (inner.type, inner.shape))
        functions = list(self.model.functions.values())
        with scratch_folder() as folder:
            path = folder / "part.onnx"
            save_model(ir.Model(graph, ir_version=self.model.ir_version, functions=functions), path)
            running = session(path, threads=1, called="a part of the model")
        run, told = runner(running), {each.name: each.shape for each in signature(running)[1]}

        def noted(arrays: Arrays) -> Outputs:
            found = run(arrays)
            for value in part.outputs:
                if value not in self._types:
                    self._types[value] = _type_of(found[str(value.name)], told[str(value.name)])
            return found

        return noted


def _type_of(array: Any, told: Sequence[Dim]) -> tuple[ir.TypeProtocol, ir.Shape]:
    """Return the type of a value for what is run behind it, and its sizes, as far as they are the same in all runs.

    Raises:
        ModelError: It is no tensor of numbers.
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise ModelError("a part of the model: what enters it is no tensor of numbers")
    sizes = told if len(told) == array.ndim else [None] * array.ndim
    shape = [size if size == dim else None for size, dim in zip(array.shape, sizes, strict=True)]
    return ir.TensorType(ir.DataType.from_numpy(array.dtype)), ir.Shape(shape)
