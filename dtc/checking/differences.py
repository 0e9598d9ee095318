"""The arithmetic of a comparison: how far the outputs of two models are apart, over many runs.

Knows arrays and no model: `dtc.checking.candidate` runs the models and says what is too far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dtc.document import DocumentPart, Real
from dtc.graph.signature import Arrays, TensorSpec
from dtc.metrics import decibels


class OutputDifference(DocumentPart):
    """One output of two models, over all runs.

    Attributes:
        name: Name of the output.
        max_abs: Largest absolute difference.
        relative_l2: Norm of the difference over the norm of the reference.
        snr: The same in dB; infinite where the outputs are equal.
        agreement: Of outputs `[..., C]` the share of positions whose largest score is the same class; of integers and
            booleans the share of equal elements; None for floats that are no scores.
    """

    name: str
    max_abs: Real
    relative_l2: Real
    snr: Real = Field(description="dB; null where the outputs are equal")
    agreement: float | None


@dataclass
class _Sums:
    largest: float = 0.0
    signal: float = 0.0
    noise: float = 0.0
    agreed: int = 0
    compared: int = 0


@dataclass
class Comparison:
    """Takes in the outputs of both models, run by run.

    Attributes:
        problems: What must not be, in words: another shape or dtype, values that are not finite where the reference's
            are. Each output is named once.
    """

    problems: list[str] = field(default_factory=list)
    _sums: dict[str, _Sums] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)

    def update(self, reference: Arrays, candidate: Arrays) -> None:
        """Take in one run: outputs by name, of the same names."""
        for name, wanted in reference.items():
            problem = _problem(wanted, candidate[name])
            if problem is None:
                _add(self._sums.setdefault(name, _Sums()), wanted, candidate[name])
            elif name not in self._named:
                self._named.add(name)
                self.problems.append(f"output {name!r} {problem}")

    def differences(self) -> tuple[OutputDifference, ...]:
        """Return the differences of the outputs that could be compared."""
        return tuple(_difference(name, sums) for name, sums in self._sums.items())


def interface_differences(kind: str, reference: Sequence[TensorSpec], candidate: Sequence[TensorSpec]) -> list[str]:
    """Return in words where the inputs or outputs (`kind`) of a candidate are others than the reference's.

    Names, order, dtypes and sizes must be the same; a free size may have another name.
    """
    # 1. Names that are missing or new.
    wanted, found = {spec.name: spec for spec in reference}, {spec.name: spec for spec in candidate}
    failures = [f"the candidate has no {kind} {name!r}; it has {', '.join(found)}" for name in wanted.keys() - found]
    failures += [f"the candidate has a new {kind} {name!r}" for name in found.keys() - wanted]
    failures += [
        # 2. The same name with another dtype or size; ["N", 10] and ["batch", 10] are the same, ["N", 10] and [1, 10]
        #    are not.
        f"{kind} {wanted[name]} is {found[name].dtype} {_dims(found[name])} in the candidate"
        for name in wanted.keys() & found
        if (wanted[name].dtype, _sizes(wanted[name])) != (found[name].dtype, _sizes(found[name]))
    ]
    # 3. The order, told only where nothing else is wrong: any other difference changes it, too.
    if not failures and list(wanted) != list(found):
        failures.append(f"the candidate has its {kind}s in another order: {', '.join(found)}")
    return sorted(failures)


def _sizes(spec: TensorSpec) -> tuple[int | None, ...]:
    return tuple(dim if isinstance(dim, int) else None for dim in spec.shape)


def _dims(spec: TensorSpec) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in spec.shape) + "]"


def _problem(wanted: npt.NDArray[np.generic], found: npt.NDArray[np.generic]) -> str | None:
    # 1. No numbers: strings, sequences, maps.
    if not isinstance(wanted, np.ndarray) or wanted.dtype.kind not in "fiub":
        return "is no tensor of numbers and cannot be compared"
    # 2. Another array.
    if wanted.shape != found.shape or wanted.dtype != found.dtype:
        return f"is {found.dtype} {list(found.shape)}; the reference gives {wanted.dtype} {list(wanted.shape)}"
    # 3. Values lost. Where the reference itself is not finite (a mask of -inf, for one), anything goes.
    broken = np.isfinite(wanted) & ~np.isfinite(found)
    if broken.any():
        kind = "NaN" if np.isnan(found[broken]).any() else "infinite"
        return f"is {kind} in {int(broken.sum())} of {broken.size} elements where the reference is finite"
    return None


def _add(sums: _Sums, wanted: npt.NDArray[np.generic], found: npt.NDArray[np.generic]) -> None:
    # Sums in float64; the ratio is taken at the end, of all runs together.
    finite = np.isfinite(wanted)
    left = np.asarray(wanted[finite], np.float64)
    error = np.asarray(found[finite], np.float64) - left
    sums.largest = max(sums.largest, float(np.abs(error).max(initial=0.0)))
    sums.signal += float(np.square(left).sum())
    sums.noise += float(np.square(error).sum())
    # Agreement: 1. integers and booleans element by element; 2. floats [..., C] as scores of C classes; 3. other floats
    # have none.
    if wanted.dtype.kind != "f":
        sums.agreed += int(np.sum(wanted == found))
        sums.compared += wanted.size
    elif wanted.ndim >= 2 and wanted.shape[-1] >= 2 and wanted.size:
        same = wanted.argmax(axis=-1) == found.argmax(axis=-1)
        sums.agreed += int(same.sum())
        sums.compared += same.size


def _difference(name: str, sums: _Sums) -> OutputDifference:
    # A reference of zeros alone: equal outputs differ by 0, others by infinitely much.
    squared = sums.noise / sums.signal if sums.signal else math.inf
    relative = math.sqrt(squared) if sums.noise else 0.0
    agreement = sums.agreed / sums.compared if sums.compared else None
    return OutputDifference(
        name=name,
        max_abs=sums.largest,
        relative_l2=relative,
        snr=decibels(sums.signal, sums.noise),
        agreement=agreement,
    )
