"""Sequences of several lengths in one batch: which of its steps are theirs, and which are padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dtc.forms import AnyArray

_AXES = 2
"""That steps and samples take."""


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of a batch.

    Attributes:
        inside: `[T, N]`, or `[N, T]` where samples come first: True for a step of its sequence.
        samples: The axis of the samples, 0 or 1.
    """

    inside: npt.NDArray[np.bool_]
    samples: int


def is_row_a_sequence(labels: AnyArray, lengths: AnyArray) -> bool:
    """True for numbers `[N, C]` that are of whole sequences, of which lengths `[N]` tell: they have no steps."""
    floats = labels.ndim == _AXES and bool(np.issubdtype(labels.dtype, np.floating))
    return floats and labels.shape[0] == lengths.size != labels.shape[1]


def steps_of(shape: tuple[int, ...], lengths: AnyArray, samples: int | None = None) -> Steps | None:
    """Return the steps of arrays whose first two axes have these sizes; None where lengths `[N]` do not fit them.

    `samples` says which axis the samples are; without it the steps come first (layout 0 of ONNX recurrent nodes, the
    only one that ONNX Runtime runs), or second where only that fits.
    """
    if len(shape) < _AXES:
        return None
    limits: npt.NDArray[np.int64] = lengths.reshape(-1).astype(np.int64)
    longest = limits.max(initial=0)
    # Steps first: [T, N] = [3, 2] with lengths [3, 1] gives columns [1, 1, 1] and [1, 0, 0].
    if samples != 0 and shape[1] == limits.size and (samples == 1 or shape[0] >= longest):
        return Steps(np.asarray(np.arange(shape[0])[:, None] < limits[None, :]), 1)
    # Samples first: rows instead.
    if samples != 1 and shape[0] == limits.size and (samples == 0 or shape[1] >= longest):
        return Steps(np.asarray(np.arange(shape[1])[None, :] < limits[:, None]), 0)
    return None
