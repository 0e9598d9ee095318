"""The arithmetic of a comparison: how far the outputs of two models are apart, over many runs.

Knows arrays and no model: `dtc.checking.candidate` runs the models and says what is too far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import Field

from dtc.checking.items import comparable, is_text, items
from dtc.document import DocumentPart, Real
from dtc.forms import AnyArray
from dtc.graph.signature import TensorSpec
from dtc.metrics import decibels


class OutputDifference(DocumentPart):
    """One output of two models, over all runs; of a sequence or a map, over all items.

    Attributes:
        name: Name of the output.
        max_abs: Largest absolute difference; of strings 1 where one differs.
        relative_l2: Norm of the difference over the norm of the reference; of strings the root of the share of those
            that differ.
        snr: The same in dB; infinite where the outputs are equal.
        agreement: Of outputs `[..., C]` the share of positions whose largest score is the same class; of integers,
            booleans and strings the share of equal elements; None for floats that are no scores.
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
    judged: int = 0
    compared: int = 0
    elements: int = 0


@dataclass
class Comparison:
    """Takes in the outputs of both models, run by run.

    Attributes:
        problems: What must not be, in words: another shape, dtype or number of items, values that are not finite where
            the reference's are. Each output is named once.
    """

    problems: list[str] = field(default_factory=list)
    _sums: dict[str, _Sums] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)

    def update(self, reference: Mapping[str, object], candidate: Mapping[str, object]) -> None:
        """Take in one run: outputs by name, of the same names."""
        for name, value in reference.items():
            wanted, found = dict(items(value)), dict(items(candidate[name]))
            problem = _problem(wanted, found)
            if problem is None:
                _add_items(self._sums.setdefault(name, _Sums()), wanted, found)
            elif name not in self._named:
                self._named.add(name)
                self.problems.append(f"output {name!r} {problem}")

    def differences(self) -> tuple[OutputDifference, ...]:
        """Return the differences of the outputs of which anything could be compared, or that were always empty."""
        return tuple(_difference(n, each) for n, each in self._sums.items() if each.compared or not each.elements)

    def vacuous(self) -> tuple[str, ...]:
        """Return the outputs that held elements, and none that could be compared: the reference's were all NaN."""
        return tuple(name for name, sums in self._sums.items() if sums.elements and not sums.compared)

    def empty(self) -> tuple[str, ...]:
        """Return the outputs that never held an element."""
        return tuple(name for name, sums in self._sums.items() if not sums.elements)


def interface_differences(kind: str, reference: Sequence[TensorSpec], candidate: Sequence[TensorSpec]) -> list[str]:
    """Return in words where the inputs or outputs (`kind`) of a candidate are others than the reference's.

    Names, order and dtypes must be the same, and so must the sizes of inputs, of which a free one may have another
    name. Of outputs only sizes that are fixed in both must be the same: a runtime infers more of them in one graph than
    in another.
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
        if wanted[name].dtype != found[name].dtype or not _same_shape(kind, wanted[name], found[name])
    ]
    # 3. The order, told only where nothing else is wrong: any other difference changes it, too.
    if not failures and list(wanted) != list(found):
        failures.append(f"the candidate has its {kind}s in another order: {', '.join(found)}")
    return sorted(failures)


def _same_shape(kind: str, wanted: TensorSpec, found: TensorSpec) -> bool:
    left, right = _sizes(wanted), _sizes(found)
    if kind == "input":
        return left == right
    if not left or not right:  # a scalar, or of unknown rank
        return True
    return len(left) == len(right) and all(a == b or None in (a, b) for a, b in zip(left, right, strict=True))


def _sizes(spec: TensorSpec) -> tuple[int | None, ...]:
    return tuple(dim if isinstance(dim, int) else None for dim in spec.shape)


def _dims(spec: TensorSpec) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in spec.shape) + "]"


def _problem(wanted: Mapping[str, AnyArray | None], found: Mapping[str, AnyArray | None]) -> str | None:
    if wanted.keys() != found.keys():
        other = sorted(wanted.keys() ^ found.keys())[0]
        return f"holds {len(found)} items, the reference's {len(wanted)}; item {other} is in one of them alone"
    for place, left in wanted.items():
        problem = _problem_of_item(left, found[place])
        if problem is not None:
            return f"{place} {problem}".lstrip()
    return None


def _problem_of_item(wanted: AnyArray | None, found: AnyArray | None) -> str | None:
    if wanted is None or found is None:
        return None if wanted is found else f"is {'there' if wanted is None else 'missing'}, unlike the reference's"
    if wanted.dtype.kind not in "fiubOUS":
        return f"holds {wanted.dtype} and cannot be compared"
    if wanted.shape != found.shape or (wanted.dtype != found.dtype and not (is_text(wanted) and is_text(found))):
        return f"is {found.dtype} {list(found.shape)}; the reference gives {wanted.dtype} {list(wanted.shape)}"
    if is_text(wanted):
        return None
    broken = np.isfinite(wanted) & ~np.isfinite(found)
    if broken.any():
        kind = "NaN" if np.isnan(found[broken]).any() else "infinite"
        return f"is {kind} in {int(broken.sum())} of {broken.size} elements where the reference is finite"
    return None


def _add_items(sums: _Sums, reference: Mapping[str, AnyArray | None], candidate: Mapping[str, AnyArray | None]) -> None:
    for place, wanted in reference.items():
        found = candidate[place]
        if wanted is None or found is None:
            continue
        sums.elements += wanted.size
        if is_text(wanted):
            _add_text(sums, wanted, found)
        else:
            _add_numbers(sums, wanted, found)


def _add_text(sums: _Sums, wanted: AnyArray, found: AnyArray) -> None:
    other = int(np.sum(wanted != found))
    sums.largest = max(sums.largest, float(other > 0))
    sums.signal += wanted.size
    sums.noise += other
    sums.agreed += wanted.size - other
    sums.judged += wanted.size
    sums.compared += wanted.size


def _add_numbers(sums: _Sums, wanted: AnyArray, found: AnyArray) -> None:
    finite = np.isfinite(wanted)
    # An infinity, of a mask say, is compared for equality; where the candidate is finite it is the better number.
    sums.compared += int(np.sum(finite | (comparable(wanted) & (wanted == found))))
    left = np.asarray(wanted[finite], np.float64)
    error = np.asarray(found[finite], np.float64) - left
    sums.largest = max(sums.largest, float(np.abs(error).max(initial=0.0)))
    sums.signal += float(np.square(left).sum())
    sums.noise += float(np.square(error).sum())
    # Agreement: 1. integers and booleans element by element; 2. floats [..., C] as scores of C classes; 3. other floats
    # have none.
    if wanted.dtype.kind != "f":
        sums.agreed += int(np.sum(wanted == found))
        sums.judged += wanted.size
    elif wanted.ndim >= 2 and wanted.shape[-1] >= 2 and wanted.size:
        rows = comparable(wanted).all(axis=-1)
        same = (wanted.argmax(axis=-1) == found.argmax(axis=-1)) & rows
        sums.agreed += int(same.sum())
        sums.judged += int(rows.sum())


def _difference(name: str, sums: _Sums) -> OutputDifference:
    # A reference of zeros alone: equal outputs differ by 0, others by infinitely much.
    squared = sums.noise / sums.signal if sums.signal else math.inf
    relative = math.sqrt(squared) if sums.noise else 0.0
    agreement = sums.agreed / sums.judged if sums.judged else None
    return OutputDifference(
        name=name,
        max_abs=sums.largest,
        relative_l2=relative,
        snr=decibels(sums.signal, sums.noise),
        agreement=agreement,
    )
