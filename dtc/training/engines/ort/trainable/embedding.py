"""Embedding tables: the gradient is a sum over the rows that were looked up, done outside of the graph.

The built-in gradient of Gather clears and returns the whole table at every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.graph import source_of


@dataclass(frozen=True)
class EmbeddingLookup:
    """A Gather of rows of a table: which parameter, and the values of the ids and of the gathered rows."""

    table: str
    ids: str
    rows: str


def alias_tables(model: ir.Model, tables: set[str], alias: Callable[[str], ir.Value]) -> list[EmbeddingLookup]:
    """Let every row lookup in one of `tables` read an alias that is not differentiated."""
    found = []
    for node in model.graph:
        # Only rows of a trained table [rows, width] are looked up: a Gather along another axis takes columns.
        if node.op_type != "Gather" or node.domain or node.attributes.get_int("axis", 0) != 0:
            continue
        table, ids = source_of(node.inputs[0]), node.inputs[1]
        if table is None or ids is None or table.name not in tables or table.shape is None or len(table.shape) != 2:
            continue
        node.replace_input_with(0, alias(table.name))
        found.append(EmbeddingLookup(table.name, str(ids.name), str(node.outputs[0].name)))
    return found


class TableGradient:
    """The dense gradient of a table, of which only the rows of the last call are ever cleared."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.array: npt.NDArray[np.float32] = np.zeros(shape, dtype=np.float32)
        self._touched: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def clear(self) -> None:
        """Set to zero."""
        self.array[self._touched] = 0
        self._touched = self._touched[:0]

    def add(self, ids: npt.NDArray[np.generic], rows: npt.NDArray[np.float32]) -> None:
        """Add `rows` `[..., width]` at `ids` `[...]`; repeated ids are summed in a fixed order."""
        # ids [3, 1, 3] with rows r0, r1, r2: sorted by id, in the old order where ids are equal, [1, 3, 3] and r1, r0,
        # r2; starts [0, 1]; sums r1 and r0 + r2 go to rows 1 and 3. `np.add.at` would do the same number by number.
        flat = ids.astype(np.int64).ravel()
        flat[flat < 0] += len(self.array)
        order = np.argsort(flat, kind="stable")
        unique, starts = np.unique(flat[order], return_index=True)
        if unique.size:
            self.array[unique] += np.add.reduceat(rows.reshape(flat.size, -1)[order], starts, axis=0)
            self._touched = np.concatenate([self._touched, unique])
