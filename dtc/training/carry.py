"""State carried from batch to batch: truncated back-propagation through time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.errors import DataError, UsageError

Arrays = dict[str, npt.NDArray[np.generic]]


class Carry:
    """Feeds outputs as the inputs of the next batch; zeros where there is no batch before.

    A dynamic extent of a carried input is that of the input of the data which has the same symbol; it is the number
    of samples where no other input has it.
    """

    def __init__(self, model: ir.Model, pairs: Mapping[str, str]) -> None:
        inputs = {str(value.name): value for value in model.graph.inputs}
        outputs = {str(value.name) for value in model.graph.outputs}
        self._pairs = dict(pairs)
        for source, target in self._pairs.items():
            if source not in outputs or target not in inputs:
                raise UsageError(f"--carry {source}={target}: the model has no such output or no such input")
        self._dims = {name: tuple(value.shape or ()) for name, value in inputs.items()}
        self._dtypes = {name: np.dtype((v.dtype or ir.DataType.FLOAT).numpy()) for name, v in inputs.items()}

    def join(self, batch: Mapping[str, npt.NDArray[np.generic]], state: Arrays) -> Arrays:
        """Return the batch with the carried inputs: those of `state`, or zeros where that is empty.

        Raises:
            DataError: The state does not have the shape that this batch needs.
        """
        joined = dict(batch)
        for target in self._pairs.values():
            shape = self._shape(target, batch)
            carried = state.get(target)
            if carried is None:
                carried = np.zeros(shape, self._dtypes[target])
            elif carried.shape != shape:
                raise DataError(
                    f"input {target!r} is carried over with shape {list(carried.shape)}, but the next batch needs "
                    f"{list(shape)}; all batches of an epoch must have the same size"
                )
            joined[target] = carried
        return joined

    def take(self, outputs: Mapping[str, npt.NDArray[np.generic]]) -> Arrays:
        """Return the state for the next batch, copied out of the engine's buffers."""
        return {target: np.array(outputs[source]) for source, target in self._pairs.items()}

    def _shape(self, target: str, batch: Mapping[str, npt.NDArray[np.generic]]) -> tuple[int, ...]:
        extents: dict[str, int] = {}
        for name, array in batch.items():
            for dim, extent in zip(self._dims.get(name, ()), array.shape, strict=False):
                if isinstance(dim, ir.SymbolicDim) and dim.value is not None:
                    extents.setdefault(dim.value, extent)
        samples = next((array.shape[0] for name, array in batch.items() if name in self._dims), 1)
        return tuple(
            dim if isinstance(dim, int) else extents.get(dim.value or "", samples) for dim in self._dims[target]
        )
