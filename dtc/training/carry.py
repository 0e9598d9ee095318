"""State carried from batch to batch: truncated back-propagation through time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from dtc.errors import DataError, UsageError
from dtc.forms import AnyArray
from dtc.graph.signature import Arrays, input_specs, zero_state


class Carry:
    """Feeds outputs as the inputs of the next batch; zeros where there is no batch before."""

    def __init__(self, model: ir.Model, pairs: Mapping[str, str]) -> None:
        self._inputs = input_specs(model)
        self._pairs = dict(pairs)
        inputs, outputs = {spec.name for spec in self._inputs}, {value.name for value in model.graph.outputs}
        for source, target in self._pairs.items():
            if source not in outputs or target not in inputs:
                raise UsageError(f"--carry {source}={target}: the model has no such output or no such input")

    def __bool__(self) -> bool:
        """False where no output is carried over: then batches need not follow each other."""
        return bool(self._pairs)

    def join(self, batch: Arrays, state: Arrays) -> dict[str, AnyArray]:
        """Return the batch with the carried inputs added: from `state`, or zeros where `state` is empty.

        Raises:
            DataError: The state does not have the shape that this batch needs, or no input tells that of the zeros.
        """
        # The batch's own values of carried inputs do not count: the state stands above them, and zeros where there is
        # none yet.
        given = {name: array for name, array in batch.items() if name not in self._pairs.values()}
        fresh = zero_state(self._inputs, self._pairs.values(), given)
        # A last batch that is smaller has a state of another size: 28 samples cannot go on from the states of 100.
        for target, zeros in fresh.items():
            carried = state.get(target, zeros)
            if carried.shape != zeros.shape:
                raise DataError(
                    f"input {target!r} is carried over with shape {list(carried.shape)}, but the next batch needs "
                    f"{list(zeros.shape)}; all batches of an epoch must have the same size"
                )
        return {**batch, **fresh, **state}

    def take(self, outputs: Arrays) -> dict[str, AnyArray]:
        """Return the state for the next batch, copied out of the engine's buffers."""
        return {target: np.array(outputs[source]) for source, target in self._pairs.items()}
