"""The metric of both models of a pair over the same batches; labels may be missing."""

from __future__ import annotations

import numpy as np

from dtc.checking.options import CheckOptions
from dtc.checking.report import MetricChange
from dtc.errors import DataError, UsageError
from dtc.evaluate import judged_output, steps_within
from dtc.forms import AnyArray
from dtc.graph.signature import Arrays
from dtc.metrics import Doubles, Metric, default_metric, make_metric
from dtc.paired import of_samples, of_streams, paired_error
from dtc.session import Outputs


class PairMetric:
    """Judges the outputs of both models, batch by batch; where there are no labels, the reference's outputs are."""

    def __init__(self, options: CheckOptions) -> None:
        self._options = options
        self._metrics: list[Metric] = []
        self._terms: list[tuple[Doubles, ...]] = []
        self._labelled = True

    def update(self, reference: Outputs, candidate: Outputs, batch: Arrays) -> None:
        """Add the outputs of both models for one batch.

        Raises:
            UsageError: There is a limit on the drop, and without labels the metric has no value before.
            DataError: The outputs do not fit the objective or the labels.
        """
        objective = self._options.objective
        judged = [judged_output(outputs, objective) for outputs in (reference, candidate)]
        if not self._metrics:
            self._begin(batch)
        # Without labels the reference is judged by its own outputs: its value is perfect, and the candidate's tells how
        # far it agrees with the reference.
        labels = batch[objective.labels] if self._labelled else self._metrics[0].stand_in(judged[0])
        self._terms.append(tuple(self._by_sample(outputs, labels, batch) for outputs in judged))
        for metric, terms in zip(self._metrics, self._terms[-1], strict=True):
            metric.add(terms)

    def change(self, samples: str) -> MetricChange:
        """Return the metric before and after; `samples` says in words which samples the batches were.

        Raises:
            DataError: There was no batch.
        """
        if not self._metrics:
            raise DataError("the data holds no batch to check on")
        before, after = self._metrics
        spread = of_streams(len(each) for each, _ in self._terms) if self._options.objective.carry else of_samples
        one, other = (np.concatenate(each) for each in zip(*self._terms, strict=True))
        error = paired_error(before, one, other, spread)
        return MetricChange(
            name=before.name,
            higher_is_better=before.higher_is_better,
            before=before.value(),
            after=after.value(),
            labelled=self._labelled,
            samples=samples,
            drop_error=error.drop,
            share_error=error.share,
            count=error.samples,
        )

    def _by_sample(self, outputs: AnyArray, labels: AnyArray, batch: Arrays) -> Doubles:
        """Return the terms of each sample; the steps of a sequence belong together."""
        steps = steps_within(outputs, labels, batch, self._options.objective)
        if steps is None:
            return self._metrics[0].terms(outputs, labels)
        inside, samples = steps.inside, steps.samples
        terms, sums = self._metrics[0].terms(outputs[inside], labels[inside]), np.zeros((inside.shape[samples], 2))
        np.add.at(sums, np.nonzero(inside)[samples], terms)
        return sums

    def _begin(self, batch: Arrays) -> None:
        objective = self._options.objective
        self._labelled = objective.labels in batch
        labels, carries = batch.get(objective.labels), bool(objective.carry)
        name = objective.metric or default_metric(labels, carries=carries, sequences=objective.of_sequences)
        self._metrics = [make_metric(name), make_metric(name)]
        # An SNR against itself is infinite, and any drop from there is.
        if self._options.max_drop is not None and not self._labelled and self._metrics[0].name == "snr":
            raise UsageError(
                "a limit on the drop (--max-drop) needs labels, or --metric accuracy for how often both agree"
            )
