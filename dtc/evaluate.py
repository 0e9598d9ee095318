"""Evaluation: batches run through a model, judged by a metric; the runtime is a function that the caller gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from dtc.errors import DataError
from dtc.forms import AnyArray
from dtc.graph.signature import Arrays, TensorSpec, zero_state
from dtc.lengths import Steps, is_row_a_sequence, steps_of
from dtc.metrics import Metric
from dtc.recipe import Objective

Run: TypeAlias = Callable[[dict[str, AnyArray]], dict[str, AnyArray]]
"""A function that runs a model: inputs by name to all outputs by name, in the model's order."""


def evaluate(
    run: Run,
    batches: Iterable[Arrays],
    objective: Objective,
    metric: Metric,
    *,
    inputs: Sequence[TensorSpec] = (),
) -> float:
    """Return the metric of a model over labelled batches.

    Carried outputs (`objective.carry`) are the next batch's inputs. They start with what the first batch holds, or
    with zeros: `inputs` (the model's, from `dtc.graph.signature` or `dtc.session`) tells their shapes.

    Raises:
        DataError: A batch has no labels, the outputs do not fit them, or the state has no start.
    """
    for outputs, batch in stateful(run, batches, objective, inputs):
        if objective.labels not in batch:
            raise DataError(
                f"a batch holds no {objective.labels!r}, only {', '.join(map(repr, batch))}; name the labels (--labels)"
            )
        metric.update(*within_lengths(judged_output(outputs, objective), batch[objective.labels], batch, objective))
    return metric.value()


def within_lengths(
    outputs: AnyArray, labels: AnyArray, batch: Arrays, objective: Objective, samples: int | None = None
) -> tuple[AnyArray, AnyArray]:
    """Return outputs `[T, N, ...]` and labels `[T, N, ...]` of the steps within each sequence, `[steps, ...]`.

    Samples may come first in both; `samples` is their axis, where it is known. Where the objective names no lengths, or
    there is one label or one row of numbers a sequence, both are returned as they are.

    Raises:
        DataError: The lengths are not there or do not fit.
    """
    steps = steps_within(outputs, labels, batch, objective, samples)
    return (outputs, labels) if steps is None else (outputs[steps.inside], labels[steps.inside])


def steps_within(
    outputs: AnyArray, labels: AnyArray, batch: Arrays, objective: Objective, samples: int | None = None
) -> Steps | None:
    """Return which steps lie within each sequence, as for `within_lengths`; None where all do.

    Raises:
        DataError: The lengths are not there or do not fit.
    """
    if objective.lengths is None:
        return None
    lengths = batch.get(objective.lengths)
    if lengths is None:
        raise DataError(f"a batch holds no {objective.lengths!r}, which the objective names as the sequence lengths")
    one = labels.shape == lengths.shape == outputs.shape[:-1]
    if one or (outputs.shape == labels.shape and is_row_a_sequence(labels, lengths)):  # no step is padding
        return None
    fits = lengths.ndim == 1 and outputs.shape[:2] == labels.shape[:2]
    steps = steps_of(labels.shape, lengths, samples) if fits else None
    if steps is None:
        raise DataError(
            f"lengths {list(lengths.shape)} do not fit outputs {list(outputs.shape)} and labels {list(labels.shape)}; "
            "lengths [N] need outputs and labels [T, N, ...] or [N, T, ...]"
        )
    return steps


def stateful(
    run: Run, batches: Iterable[Arrays], objective: Objective, inputs: Sequence[TensorSpec]
) -> Iterator[tuple[dict[str, AnyArray], Arrays]]:
    """Yield the outputs of each batch, and the batch with the state that was carried into it."""
    carried: dict[str, AnyArray] | None = None
    for batch in batches:
        given = {name: array for name, array in batch.items() if name != objective.labels}
        # hn=h0: zeros for h0 before the first batch, unless that batch holds an h0; then each output hn is the next h0.
        if carried is None:
            carried = zero_state(inputs, objective.carry.values(), given) if objective.carry else {}
        outputs = run(given | carried)
        fed = {**batch, **carried}
        carried = {target: output_named(outputs, name) for name, target in objective.carry.items()}
        yield outputs, fed


def judged_output(outputs: Arrays, objective: Objective) -> AnyArray:
    """Return the output that the objective reads: the one it names, else the first.

    Raises:
        DataError: The model has no such output.
    """
    return output_named(outputs, objective.output) if objective.output else next(iter(outputs.values()))


def output_named(outputs: Arrays, name: str) -> AnyArray:
    """Return the output called `name`.

    Raises:
        DataError: The model has no such output.
    """
    if name not in outputs:
        raise DataError(f"the model has no output {name!r}; it has {', '.join(outputs)}")
    return outputs[name]
