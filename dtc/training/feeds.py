"""What an engine takes out of a batch: the inputs of the model, in its types, and what the loss compares with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from dtc.errors import DataError, EngineError
from dtc.forms import AnyArray
from dtc.graph.signature import Arrays
from dtc.recipe import Objective
from dtc.training.targets import (
    LABELS,
    TAUGHT,
    TAUGHT_WEIGHT,
    WEIGHT,
    Kind,
    choose_kind,
    labels_of,
    samples_axis,
    targets,
)


def inputs_of(graph: ir.Graph, batch: Arrays) -> dict[str, AnyArray]:
    """Return the inputs of a graph in the types that it declares, contiguous.

    Raises:
        DataError: One is missing or of the wrong type.
    """
    found = {}
    for value in graph.inputs:
        if value.name not in batch:
            raise DataError(f"the batch holds no {value.name!r}, an input of the model")
        assert value.name is not None
        # float64 may become float32 and int64 int32 ("same_kind"), floats never integers: that is a mistake in the
        # data.
        array = np.asarray(batch[value.name])
        dtype = array.dtype if value.dtype is None else value.dtype.numpy()
        if not np.can_cast(array.dtype, dtype, casting="same_kind"):
            raise DataError(f"input {value.name!r} needs {dtype}, the batch holds {array.dtype}")
        found[value.name] = np.ascontiguousarray(array, dtype=dtype)
    return found


def lengths_of(objective: Objective, batch: Arrays) -> AnyArray | None:
    """Return the length of each sample, None where the objective names none.

    Raises:
        DataError: The batch does not hold them.
    """
    name = objective.lengths
    if name is None:
        return None
    if name not in batch:
        raise DataError(f"the batch holds no {name!r}, which the option lengths names")
    return np.asarray(batch[name])


class Supervision:
    """What the loss of an objective compares the outputs of a graph with, batch by batch.

    With `distill` above 0 training compares them with the original's too, and weighs what comes of it by that.

    Attributes:
        kind: The loss; None until the first batch decides what `auto` is.

    Raises:
        EngineError: The graph has not what the objective carries over.
    """

    def __init__(self, graph: ir.Graph, objective: Objective, distill: float = 0.0) -> None:
        check_carry(graph, objective)
        self._objective, self._samples, self._distill = objective, samples_axis(graph, objective), distill
        self.kind: Kind | None = None if objective.loss == "auto" else objective.loss

    def of(
        self, batch: Arrays, taught: Callable[[], AnyArray], total_of: Callable[[float], float] = float
    ) -> tuple[Kind, dict[str, AnyArray]]:
        """Return the loss and what it is fed with (`dtc.training.targets`, of `total_of`, too).

        `taught` computes what distillation compares with.

        Raises:
            DataError: The labels or the lengths are missing or of the wrong type, or no label counts.
        """
        if self.kind is None:
            self.kind = choose_kind(self._objective, batch)
        labels = taught() if self.kind == "distill" else labels_of(self._objective, self.kind, batch)
        return self.kind, targets(self.kind, labels, lengths_of(self._objective, batch), self._samples, total_of)

    def beside(
        self, batch: Arrays, taught: Callable[[], AnyArray], total_of: Callable[[float], float] = float
    ) -> dict[str, AnyArray]:
        """Return what training compares the scores with beside the labels: nothing, or the original's own scores.

        `dtc::taught`, a float vector, and `dtc::taught_weight`, which sums to `distill`.

        Raises:
            DataError: The lengths are missing, or leave nothing that counts.
        """
        if not self._distill:
            return {}
        found = targets("distill", taught(), lengths_of(self._objective, batch), self._samples, total_of)
        weight = np.multiply(found[WEIGHT], self._distill, dtype=np.float32)
        return {TAUGHT: found[LABELS], TAUGHT_WEIGHT: weight}


def check_carry(graph: ir.Graph, objective: Objective) -> None:
    """Make sure that a graph has the outputs and inputs that an objective carries over.

    Raises:
        EngineError: It has not; names what is missing.
    """
    outputs = {value.name for value in graph.outputs}
    inputs = {value.name for value in graph.inputs}
    for source, target in objective.carry.items():
        if source not in outputs or target not in inputs:
            what = f"output {source!r}" if source not in outputs else f"input {target!r}"
            raise EngineError(f"carry {source}={target}: the model has no {what}")
