"""The metric of files on samples that nothing has seen, each beside the original's on the same samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dtc.data import open_source
from dtc.evaluate import judged_output, stateful
from dtc.forms import AnyArray
from dtc.graph import load_model
from dtc.graph.signature import input_specs
from dtc.metrics import Doubles, make_metric
from dtc.paired import of_samples, of_streams, paired_error
from dtc.recipe import Objective
from dtc.session import runner, session


@dataclass(frozen=True)
class Judged:
    """The metric of a file, what it loses against the original, and the standard error of that."""

    value: float
    drop: float
    error: float


class Unseen:
    """Holds files to a model on samples; without labels the model's own answers stand for them.

    Args:
        model: The original.
        samples: As `--data` names them.
        objective: Which output is read, how state is carried, and the metric, which it names.
        relative: Whether losses are shares of the original's metric.
    """

    def __init__(self, model: Path, samples: str, objective: Objective, *, relative: bool) -> None:
        assert objective.metric is not None, "a case names its metric"
        self._objective, self._relative = objective, relative
        self._metric, self._specs = make_metric(objective.metric), input_specs(load_model(model))
        self._source = open_source(samples, batch_size=1)
        self._labels: list[AnyArray] = []
        self._before = self._terms(model)

    def judge(self, path: Path) -> Judged:
        """Return what a file has and loses."""
        terms = self._terms(path)
        one, other = np.concatenate(self._before), np.concatenate(terms)
        before, value = (self._metric.of(*each.sum(axis=0)) for each in (one, other))
        error = paired_error(
            self._metric, one, other, of_streams(map(len, terms)) if self._objective.carry else of_samples
        )
        drop = before - value if self._metric.higher_is_better else value - before
        return Judged(value, drop / abs(before), error.share) if self._relative else Judged(value, drop, error.drop)

    def _terms(self, path: Path) -> list[Doubles]:
        """Return the terms of samples by batch; of the first file, the original, answers are kept as labels."""
        batches = self._source.batches(epoch=0, seed=0, shuffle=False)
        run, terms = runner(session(path, threads=1)), []
        for number, (outputs, batch) in enumerate(stateful(run, batches, self._objective, self._specs)):
            judged = judged_output(outputs, self._objective)
            if number == len(self._labels):
                self._labels.append(batch.get(self._objective.labels, self._metric.stand_in(judged)))
            terms.append(self._metric.terms(judged, self._labels[number]))
        return terms
