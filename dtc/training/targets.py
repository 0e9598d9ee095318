"""What a loss compares with: the labels of a batch, masked beyond each sample's length, and their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.ctc import checked_sequences
from dtc.errors import DataError
from dtc.forms import AnyArray
from dtc.graph.signature import Arrays
from dtc.labels import PADDING
from dtc.lengths import steps_of
from dtc.recipe import Objective

Kind: TypeAlias = Literal["cross-entropy", "ctc", "mse", "bce", "distill"]

LABELS = "dtc::labels"
WEIGHT = "dtc::weight"
TOTAL = "dtc::total"
TAUGHT = "dtc::taught"
TAUGHT_WEIGHT = "dtc::taught_weight"


def choose_kind(objective: Objective, batch: Arrays) -> Kind:
    """Return the loss; `auto` goes by the labels of the batch: integers, floats, or none."""
    if objective.loss != "auto":
        return objective.loss
    labels = batch.get(objective.labels)
    if labels is None:
        return "distill"
    if np.issubdtype(labels.dtype, np.floating):
        return "mse"
    return "ctc" if objective.of_sequences else "cross-entropy"


def labels_of(objective: Objective, kind: Kind, batch: Arrays) -> AnyArray:
    """Return the labels of a batch.

    Raises:
        DataError: The labels are missing or of the wrong type.
    """
    if objective.labels not in batch:
        raise DataError(f"the batch holds no {objective.labels!r}, which loss {kind} needs; name the labels")
    labels = np.asarray(batch[objective.labels])
    if kind in ("cross-entropy", "ctc") and not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{objective.labels!r} is {labels.dtype}, {kind} needs class numbers (integers)")
    return labels


def samples_axis(graph: ir.Graph, objective: Objective) -> int | None:
    """Return the axis (0 or 1) of the output that counts samples; None where the names of the sizes do not tell.

    That axis has the same symbolic size as the input which gives the lengths.
    """
    lengths = next((value for value in graph.inputs if value.name == objective.lengths), None)
    output = next((value for value in graph.outputs if objective.output in (None, value.name)), None)
    if lengths is None or output is None or not lengths.shape or output.shape is None or len(output.shape) < 2:
        return None
    # Lengths ["N"] with an output ["T", "N", "C"] give 1, with ["N", "T", "C"] 0. A number, or a name that both axes or
    # neither have, tells nothing.
    size, sides = lengths.shape[0], tuple(output.shape[:2])
    if not isinstance(size, ir.SymbolicDim) or size.value is None or sides.count(size) != 1:
        return None
    return sides.index(size)


def targets(
    kind: Kind,
    labels: AnyArray,
    lengths: AnyArray | None,
    samples: int | None = None,
    total_of: Callable[[float], float] = float,
) -> dict[str, AnyArray]:
    """Return the feeds of the loss.

    `dtc::labels`, those of ctc `[N, L]`; `dtc::total`, how many of them count, float32; for losses of floats
    `dtc::weight`, float32, one `dtc::total`-th each. `samples` is the axis of the samples, None where it is unknown.
    Where the batch is a part of a larger one, `total_of` makes the number of that one of the part's own.

    Raises:
        DataError: No label counts.
    """
    if kind == "ctc":
        sequences = checked_sequences(labels)
        spelt = total_of(float(np.count_nonzero(sequences != PADDING)))
        if not spelt:
            raise DataError("no label of the batch counts: all are -1")
        return {LABELS: sequences, TOTAL: np.array(spelt, np.float32)}
    inside = (
        None if lengths is None else _inside_lengths(labels.shape, lengths, samples, steps_last=kind == "cross-entropy")
    )
    if kind == "cross-entropy":
        # 1. Classes: what does not count gets the class that the loss ignores, and the mean is over the others.
        classes = labels.astype(np.int64)
        if inside is not None:
            classes = np.where(inside, classes, PADDING)
        total = total_of(float(np.count_nonzero(classes != PADDING)))
        if not total:
            raise DataError("no label of the batch counts: all are -1 or beyond their sample's length")
        return {LABELS: classes if classes.ndim > 2 else classes.reshape(-1), TOTAL: np.array(total, np.float32)}
    # 2. Floats: each number has its weight, and the weights sum to 1. Of labels [T, N, C] = [3, 2, 4] with lengths [3,
    #    1] 16 numbers count, each with weight 1 / 16.
    counts = np.ones(labels.shape, np.float32)
    if inside is not None:
        counts *= inside
    total = total_of(float(counts.sum(dtype=np.float64)))
    if not total:
        raise DataError("no label of the batch counts: it is empty, or all lie beyond their sample's length")
    flat = np.ascontiguousarray(labels, dtype=np.float32).reshape(-1)
    weight = (counts / np.float32(total)).reshape(-1)
    return {LABELS: flat, WEIGHT: weight, TOTAL: np.array(total, np.float32)}


def _inside_lengths(
    shape: tuple[int, ...], lengths: AnyArray, samples: int | None = None, *, steps_last: bool
) -> npt.NDArray[np.bool_] | None:
    """Return True where a step is inside its sample, broadcastable to `shape`; None where there are no steps.

    Steps and samples are the first two axes, as `samples` says (`dtc.lengths.steps_of`). Without `steps_last` the last
    axis holds features and is not taken for steps.
    """
    # Labels of classes [T, N] have steps and samples alone, other labels [T, N, ...] features behind them.
    if len(shape) < (2 if steps_last else 3):
        return None
    steps = steps_of(shape, lengths, samples)
    return None if steps is None else steps.inside.reshape(shape[:2] + (1,) * (len(shape) - 2))
