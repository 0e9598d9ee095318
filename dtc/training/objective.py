"""Resolution of an objective's `auto`: the loss and the metric that suit the labels of the data."""

from __future__ import annotations

import onnx_ir as ir

from dtc.errors import DataError
from dtc.forms import AnyArray
from dtc.graph.signature import Arrays
from dtc.metrics import default_metric
from dtc.recipe import Objective
from dtc.training.targets import choose_kind


def resolve_objective(objective: Objective, batch: Arrays, output: ir.Value | None = None) -> Objective:
    """Return the objective with its loss and its metric chosen by the labels of a batch.

    `output` is what the loss reads, as far as it is known: integers that say for one score a position whether it should
    be high are no classes. The metric stays None where only the loss is reported. Without labels the loss is the
    distance of the outputs from the original's outputs; the final check may still count how often both models agree.

    Raises:
        DataError: The loss needs labels, and there are none.
    """
    # `auto` becomes: no labels -> distill; floats -> mse; integers (class numbers) -> cross-entropy, of sequences ctc;
    # integers of one score each -> bce.
    labels = batch.get(objective.labels)
    loss = choose_kind(objective, batch)
    if labels is None and loss != "distill":
        raise DataError(
            f"the loss {loss} needs labels, but the data has no array {objective.labels!r}; "
            "name it with --labels, or leave out --loss to learn from the original model's own outputs"
        )
    metric = None if labels is None else objective.metric or _metric(loss, labels, carries=bool(objective.carry))
    if loss == "cross-entropy" and objective.loss == "auto" and _has_one_score(output):
        loss = "bce"
    return objective.model_copy(update={"loss": loss, "metric": metric})


def _has_one_score(output: ir.Value | None) -> bool:
    """Return whether an output has one score a sample: `[N, 1]` or `[N]`."""
    return output is not None and output.shape is not None and tuple(output.shape)[1:] in ((), (1,))


def _metric(loss: str, labels: AnyArray, *, carries: bool) -> str | None:
    # With bce, and with float labels under another loss than mse, no metric is chosen: the loss itself is reported.
    if loss == "bce" or (labels.dtype.kind == "f" and loss != "mse"):
        return None
    return default_metric(labels, carries=carries, sequences=loss == "ctc")
