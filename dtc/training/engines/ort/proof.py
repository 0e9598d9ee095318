"""Proof by the data that a converted graph computes what the model computes that it was made of.

The converter of `onnx` rewrites some operators into others: the Resize and Upsample of opsets before 11 become a
Resize with other rules, for instance. What is trained then, and scored, is another function than the user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.errors import EngineError, one_line
from dtc.forms import AnyArray
from dtc.graph.opset import opset_of
from dtc.training.engines.ort.conversion import OLDEST_OPSET
from dtc.training.engines.ort.runtime import open_session

LARGEST_DIFFERENCE = 1e-3
"""Relative L2 of an output; of whole numbers the share that differ. What rounding does is a thousandth of it."""

_IR_VERSION = 10


class ConversionProof:
    """Runs a model beside its converted form.

    Args:
        given: As the user gave it.
        converted: Of the same inputs and outputs, with the weights of `given`.
        threads: Of a session; None: as the runtime likes.
    """

    def __init__(self, given: ir.Model, converted: ir.Model, threads: int | None) -> None:
        self._given, self._converted, self._threads = given.clone(), converted, threads
        self._given.ir_version = min(given.ir_version, _IR_VERSION)
        self._sessions = [open_session(model, threads) for model in (self._given, converted)]

    def check(self, inputs: Mapping[str, AnyArray]) -> None:
        """Run both on a batch, and compare their outputs; what differs from itself, as random numbers do, is left out.

        Raises:
            EngineError: They differ by more than rounding; names the operators that were changed.
        """
        given, converted = self._sessions
        expected, again, found = (_run(session, inputs) for session in (given, given, converted))
        steady = [name for name in expected if _difference(expected[name], again[name]) <= LARGEST_DIFFERENCE]
        largest = max((_difference(expected[name], found[name]) for name in steady), default=0.0)
        if largest > LARGEST_DIFFERENCE:
            changed = ", ".join(self._changed(inputs)) or "none of the nodes outside of branches"
            raise EngineError(
                f"the ort engine trains opset {OLDEST_OPSET} or later, and converting this model from opset "
                f"{opset_of(self._given)} would change what it computes, by {100 * largest:.3g} % of an output on the "
                f"data (changed: {changed}); export it at opset {OLDEST_OPSET} or later"
            )

    def _changed(self, inputs: Mapping[str, AnyArray]) -> list[str]:
        """Return the nodes of the main graph whose outputs differ though their inputs do not."""
        produced = [
            {str(value.name) for node in model.graph for value in node.outputs if value.name and value.uses()}
            for model in (self._given, self._converted)
        ]
        names = sorted(produced[0] & produced[1])
        expected, found = (
            _run(open_session(_handing_out(model, names), self._threads), inputs)
            for model in (self._given, self._converted)
        )
        wrong = {name for name in expected if _difference(expected[name], found[name]) > LARGEST_DIFFERENCE}
        return [
            f"{node.op_type} {node.name!r}"
            for node in self._given.graph
            if any(value.name in wrong for value in node.outputs)
            and not any(value is not None and value.name in wrong for value in node.inputs)
        ]


def _handing_out(model: ir.Model, names: list[str]) -> ir.Model:
    """Return the model with more of its values as outputs."""
    copy = model.clone()
    values = {value.name: value for node in copy.graph for value in node.outputs}
    copy.graph.outputs.extend(values[name] for name in names if not values[name].is_graph_output())
    return copy


def _run(session: Any, inputs: Mapping[str, AnyArray]) -> dict[str, Any]:
    """Return all outputs by name.

    Raises:
        EngineError: The runtime cannot run the model on this batch.
    """
    wanted = {value.name for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, {n: a for n, a in inputs.items() if n in wanted}), strict=True))
    except Exception as error:
        raise EngineError(f"ONNX Runtime could not run the model on a batch: {one_line(error)}") from error


def _difference(expected: Any, found: Any) -> float:
    """Return how far two outputs lie apart; 0 for what holds no numbers."""
    if not isinstance(expected, np.ndarray) or expected.dtype.kind not in "fiub":
        return 0.0
    if expected.shape != found.shape:
        return np.inf
    if expected.dtype.kind != "f":
        return float(np.mean(expected != found)) if expected.size else 0.0
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(found)):
        return np.inf
    one, other = (array[finite].astype(np.float64) for array in (expected, found))
    norm = float(np.linalg.norm(one))
    return float(np.linalg.norm(other - one)) / norm if norm else float(np.any(other))
