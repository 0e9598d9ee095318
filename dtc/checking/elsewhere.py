"""A candidate in other runtimes: whether these compute what ONNX Runtime computes, and whether they could before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dtc.checking.differences import Comparison
from dtc.checking.runtime import Ran, RefusedError, Runtime
from dtc.document import DocumentPart, Real
from dtc.session import Outputs, runner, session

TOLERANCE = 1e-3
"""Largest relative L2 of a runtime that is right: runtimes add up in another order, and some round otherwise."""


class Elsewhere(DocumentPart):
    """What another runtime makes of the candidate.

    Attributes:
        runtime: Its name.
        version: Empty where it is not known.
        outcome: `right` where its outputs are those of ONNX Runtime.
        original: What it makes of the reference; None where the candidate is right, and nobody asks.
        relative_l2: Of its outputs from those of ONNX Runtime on the same file, the largest; None where it has none.
        from_reference: Of its outputs from those of the reference in ONNX Runtime, the largest.
        reason: Why it is refused or wrong, in the runtime's words.
    """

    runtime: str
    version: str
    outcome: Literal["right", "wrong", "refused"]
    original: Literal["right", "wrong", "refused"] | None = None
    relative_l2: Real | None = None
    from_reference: Real | None = None
    reason: str = ""

    @property
    def words(self) -> str:
        """What it is, in a line."""
        name = f"{self.runtime} {self.version}".strip()
        if self.outcome == "right":
            told = f"right, {self.relative_l2:.1e} from ONNX Runtime on the same file"
            return f"{name}: {told}, {self.from_reference:.3g} from the reference (relative L2)"
        if self.original == "refused":
            return f"{name}: refuses the original, too: {self.reason}"
        if self.original == "wrong":
            return f"{name}: computes something else of the original, too: {self.reason}"
        return f"{name}: {'refuses the file' if self.outcome == 'refused' else 'is wrong'}: {self.reason}"

    @property
    def failed(self) -> bool:
        """True if it runs the reference, and the candidate not, or not rightly."""
        return self.outcome != "right" and self.original == "right"


@dataclass(frozen=True)
class Expected:
    """A model file, and what ONNX Runtime computes of it, input by input."""

    path: Path
    outputs: tuple[Outputs, ...]

    @classmethod
    def of(cls, path: Path, feeds: Sequence[Mapping[str, Any]]) -> Expected:
        """Run a file on the functions that it carries, as another runtime would.

        Raises:
            ModelError: ONNX Runtime does not run it.
        """
        run = runner(session(path, native=False))
        return cls(path, tuple(run(feed) for feed in feeds))


def run_elsewhere(
    runtime: Runtime, reference: Expected, candidate: Expected, feeds: Sequence[Mapping[str, Any]]
) -> Elsewhere:
    """Run a candidate in another runtime on feeds, and compare; where it is not right, the reference too."""
    found, outcome = _judge(runtime, candidate, feeds)
    if isinstance(found, Ran) and outcome.outcome == "right":
        distance = _distance(reference.outputs, found)
        return outcome.model_copy(update={"from_reference": distance})
    _, original = _judge(runtime, reference, feeds)
    told = original if original.outcome != "right" and original.reason else outcome
    return outcome.model_copy(update={"original": original.outcome, "reason": told.reason})


def _judge(runtime: Runtime, expected: Expected, feeds: Sequence[Mapping[str, Any]]) -> tuple[Ran | None, Elsewhere]:
    try:
        found = runtime.run(expected.path, feeds, list(expected.outputs[0]))
    except RefusedError as error:
        return None, Elsewhere(runtime=runtime.name, version=error.version, outcome="refused", reason=str(error))
    comparison = _compared(expected.outputs, found)
    distance = max((each.relative_l2 for each in comparison.differences()), default=np.inf)
    reason = "; ".join(comparison.problems) or f"{distance:.3g} from ONNX Runtime on the same file (relative L2)"
    right = not comparison.problems and distance <= TOLERANCE
    return found, Elsewhere(
        runtime=runtime.name,
        version=found.version,
        outcome="right" if right else "wrong",
        relative_l2=distance,
        reason="" if right else reason,
    )


def _distance(wanted: Sequence[Outputs], found: Ran) -> float:
    return max((each.relative_l2 for each in _compared(wanted, found).differences()), default=np.inf)


def _compared(wanted: Sequence[Outputs], found: Ran) -> Comparison:
    """Compare all runs; a runtime without integers of 64 bits, or without scalars, gives the numbers all the same."""
    comparison = Comparison()
    for expected, outputs in zip(wanted, found.outputs, strict=True):
        comparison.update(expected, {name: as_wanted(outputs[name], value) for name, value in expected.items()})
    return comparison


def as_wanted(array: Any, wanted: Any) -> Any:
    """Return an output in the type of the one that is expected, and of its shape where the elements are as many."""
    if not isinstance(wanted, np.ndarray) or array.size != wanted.size:
        return array
    return array.astype(wanted.dtype, copy=False).reshape(wanted.shape)
