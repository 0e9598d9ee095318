"""The written file against the user's model with distorted weights: it computes the same, but for float rounding.

The quality of a compression is another question, which `dtc.checking.candidate` answers against the original. Here the
question is whether the file says what the compression meant.

Where activations are quantized, float rounding moves one of them to the next level here and there, and every layer
behind makes more of it: changing the input of a ResNet-20 by a millionth changes its outputs by 0.6 % at 8 bits, by 5 %
at 2. So files are compared without the rounding of activations, as strictly as others; the quantizers have to be those
that were to be put in, and the file has to run as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from dtc.checking.candidate import check
from dtc.checking.options import CheckOptions
from dtc.checking.report import CheckReport
from dtc.graph import bypass_quantizers, find_quantizers, save_model

_CALLED = ("the model with its distorted weights", "the file to write")
"""In messages: both are files of which no user knows."""


@dataclass(frozen=True)
class Comparable:
    """A model in a file.

    Attributes:
        files: The file, and that of its external data where it has some.
        unrounded: Another file with the same model, but without the rounding of activations; None if it rounds none.
        levels: Scale, zero point, lowest and highest level of every quantizer of activations.
    """

    files: tuple[Path, ...]
    unrounded: Path | None
    levels: tuple[tuple[float, int, int, int], ...]

    @property
    def path(self) -> Path:
        """The file of the model itself."""
        return self.files[0]


def save_comparable(model: ir.Model, path: Path) -> Comparable:
    """Write a model, and beside it the same without the rounding of activations where there is any."""
    levels = levels_of(model)
    return Comparable(save_model(model, path), _save_unrounded(model, path) if levels else None, levels)


def save_reference(model: ir.Model, path: Path, levels: tuple[tuple[float, int, int, int], ...]) -> Comparable:
    """Write what a file is held to: the model without quantizers of which the file has `levels`, its own among them."""
    return Comparable(save_model(model, path), _save_unrounded(model, path) if levels else None, levels)


def levels_of(model: ir.Model) -> tuple[tuple[float, int, int, int], ...]:
    """Return scale, zero point, lowest and highest level of every quantizer of activations, in order of size."""
    return tuple(sorted(each.levels for each in find_quantizers(model.graph)))


def _save_unrounded(model: ir.Model, path: Path) -> Path:
    clone, unrounded = model.clone(), path.with_name("unrounded.onnx")
    bypass_quantizers(clone)
    save_model(clone, unrounded)
    return unrounded


def check_faithful(dense: Comparable, lowered: Comparable, limit: float, options: CheckOptions) -> CheckReport:
    """Compare a lowered file with its distorted dense model; `limit` bounds the relative L2 difference of any output.

    Of `options` the inputs, the seed and the reason for the limit count: nothing is measured, and no kernel runs,
    because this is about what the file says, to the last bit; the check against the original runs the kernels.

    Raises:
        ModelError: ONNX Runtime loads one of the two files not.
        DataError: No inputs that the model takes were found.
    """
    told = replace(options, max_drop=None, seconds=0.0, native=False, called=_CALLED)
    strict = replace(told, max_difference=limit)
    # 1. Nothing is rounded, or not in the same way: the files are compared as they are, strictly.
    if dense.unrounded is None or lowered.unrounded is None or dense.levels != lowered.levels:
        return check(dense.path, lowered.path, options=strict)
    # 2. Both without rounding, strictly; then as they are, only to see that the written file runs and gives finite
    #    values.
    report = check(dense.unrounded, lowered.unrounded, options=strict)
    rounded = check(dense.path, lowered.path, options=replace(told, max_difference=None))
    return report.model_copy(update={"failures": report.failures + rounded.failures})
