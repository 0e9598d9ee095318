"""Checking a compressed model against the one that it came from, in the installed ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dtc.compare import Comparison, OutputDifference, interface_differences
from dtc.data import Source
from dtc.deploy.ops import DOMAIN
from dtc.deploy.ops.library import library_path
from dtc.errors import DataError, ModelError, UsageError
from dtc.evaluate import judged_output, stateful, within_lengths
from dtc.graph.load import load_model
from dtc.graph.signature import Arrays, TensorSpec, zero_state
from dtc.measure import MEASURED_SESSION, Latency, Memory, file_bytes, measure_latency, measure_memory
from dtc.metrics import Metric, default_metric, make_metric
from dtc.recipe import Objective
from dtc.sample_inputs import Inputs, sample_inputs
from dtc.session import Outputs, runner, session, signature

_DRAWS = 4
_COMPARED_BATCHES = 8  # the metric reads all data; for the distance of the outputs a few batches tell enough


@dataclass(frozen=True)
class ModelFacts:
    """What a model costs: bytes of its files, and what was measured of it (None where it was not)."""

    path: Path
    file_bytes: int
    latency: Latency | None = None
    memory: Memory | None = None


@dataclass(frozen=True)
class MetricChange:
    """A metric of the reference and of the candidate on the same data.

    Attributes:
        name: Name of the metric.
        higher_is_better: Its direction.
        before: Value of the reference.
        after: Value of the candidate.
        labelled: False where the data has no labels and the reference's own outputs stand for them.
    """

    name: str
    higher_is_better: bool
    before: float
    after: float
    labelled: bool

    @property
    def drop(self) -> float:
        """How much worse the candidate is, in the metric's own unit; negative if it is better."""
        if self.before == self.after:
            return 0.0
        return self.before - self.after if self.higher_is_better else self.after - self.before


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        reference: The model compared with.
        candidate: The model checked.
        inputs: Where the inputs came from, in words.
        differences: The outputs, one by one.
        metric: What they are worth on data; None without data.
        kernels: Largest relative L2 of the candidate's outputs on the native kernels from those on the functions in its
            file; None where it has no operators of dtc or the kernels did not run.
        failures: Every reason why the candidate does not pass; empty if it does.
    """

    reference: ModelFacts
    candidate: ModelFacts
    inputs: str = ""
    differences: tuple[OutputDifference, ...] = ()
    metric: MetricChange | None = None
    kernels: float | None = None
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True if nothing failed."""
        return not self.failures


class _CandidateError(ModelError):
    """The candidate cannot run what the reference runs."""


@dataclass(frozen=True)
class _Pair:
    """Both models, loaded anew, each in a session of its own."""

    paths: tuple[Path, Path]
    inputs: tuple[TensorSpec, ...]
    runs: tuple[Callable[[Arrays], Outputs], Callable[[Arrays], Outputs]]
    failures: list[str]


def check(
    reference: str | Path,
    candidate: str | Path,
    *,
    source: Source | None = None,
    objective: Objective | None = None,
    max_drop: float | None = None,
    max_difference: float | None = None,
    seed: int = 0,
    fixed: Arrays | None = None,
    threads: int | None = None,
    seconds: float = 2.0,
    native: bool = True,
) -> CheckReport:
    """Compare a candidate with its reference: outputs, metric, size, latency, memory.

    Inputs come from `source`, or are generated (`fixed` gives some of them as they are). The candidate fails if its
    inputs or outputs have other names, shapes or dtypes, if it cannot run, gives values that are not finite where the
    reference's are, loses more than `max_drop` of the metric (in its own unit: 0.01 is one point of accuracy), or if
    an output is further away than `max_difference` (relative L2). `seconds` is the time for the latency of both; with 0
    neither latency nor memory is measured. Both run on the native kernels where there are any, unless `native` is
    false.

    Raises:
        UsageError: `max_drop` is given without data or for a metric that has no value before.
        ModelError: A model cannot be loaded, or the reference cannot be run.
        DataError: The data does not fit the models, or no generated inputs do.
    """
    objective = objective or Objective()
    if max_drop is not None and source is None:
        raise UsageError("a limit on the drop of the metric (--max-drop) needs data to measure it on: give --data")
    pair = _open(Path(reference), Path(candidate), threads, native)
    before, after = (ModelFacts(path, file_bytes(path)) for path in pair.paths)
    if pair.failures:
        return CheckReport(before, after, failures=pair.failures)
    try:
        if source is None:
            generated = _generated(pair, seed, fixed)
            comparison, words, metric = _compare(pair, generated), f"generated, {len(generated)} draws", None
            sample: Arrays = generated[-1]
        else:
            comparison, metric, count = _compare_on_data(pair, source, objective, seed, max_drop)
            sample, words = _first_inputs(pair, source, objective, seed), f"data, {count} batches"
        kernels = _kernel_difference(pair, sample) if native else None
    except _CandidateError as error:
        return CheckReport(before, after, failures=[str(error)])
    failures = comparison.problems + _over_limits(comparison, metric, max_drop, max_difference)
    if seconds > 0:
        before, after = _measure(pair, (before, after), sample, threads, seconds, native)
    return CheckReport(before, after, words, comparison.differences(), metric, kernels, failures)


def _kernel_difference(pair: _Pair, sample: Arrays) -> float | None:
    """Run the candidate without the native kernels too, if it has operators that they are for."""
    path = pair.paths[1]
    if library_path() is None or not any(domain == DOMAIN for domain, *_ in load_model(path).functions):
        return None
    comparison = Comparison()
    comparison.update(runner(session(path, threads=1, native=False))(sample), pair.runs[1](sample))
    return max((each.relative_l2 for each in comparison.differences()), default=None)


def _open(reference: Path, candidate: Path, threads: int | None, native: bool) -> _Pair:  # noqa: FBT001
    first, second = (
        session(path, threads=threads, settings=MEASURED_SESSION, native=native) for path in (reference, candidate)
    )
    (inputs, outputs), (other_inputs, other_outputs) = signature(first), signature(second)
    failures = interface_differences("input", inputs, other_inputs)
    failures += interface_differences("output", outputs, other_outputs)
    run = runner(second)

    def run_candidate(batch: Arrays) -> Outputs:
        try:
            return run(batch)
        except ModelError as error:
            raise _CandidateError(f"the candidate cannot run inputs that the reference runs: {error}") from error

    return _Pair((reference, candidate), inputs, (runner(first), run_candidate), failures)


def _generated(pair: _Pair, seed: int, fixed: Arrays | None) -> list[Inputs]:
    model = load_model(pair.paths[0])
    try:
        return sample_inputs(model, pair.runs[0], count=_DRAWS, seed=seed, fixed=fixed)
    except DataError as error:
        raise DataError(f"{pair.paths[0]}: {error}") from error


def _compare(pair: _Pair, feeds: Iterable[Arrays]) -> Comparison:
    comparison = Comparison()
    for feed in feeds:
        comparison.update(pair.runs[0](feed), pair.runs[1](feed))
    return comparison


def _compare_on_data(
    pair: _Pair, source: Source, objective: Objective, seed: int, max_drop: float | None
) -> tuple[Comparison, MetricChange, int]:
    """Run both models over all data, each with its own carried state."""
    streams = [
        stateful(run, source.batches(epoch=0, seed=seed, shuffle=False), objective, pair.inputs) for run in pair.runs
    ]
    comparison, count, labelled = Comparison(), 0, True
    metrics: list[Metric] = []
    for count, ((wanted, batch), (found, _)) in enumerate(zip(*streams, strict=True), 1):
        judged = [judged_output(outputs, objective) for outputs in (wanted, found)]
        if not metrics:
            labelled = objective.labels in batch
            metrics = _metrics(objective, batch.get(objective.labels))
            if max_drop is not None and not labelled and metrics[0].name == "snr":
                raise UsageError(
                    "a limit on the drop (--max-drop) needs labels, or --metric accuracy for how often both agree"
                )
        labels = batch[objective.labels] if labelled else _stand_in(judged[0], metrics[0].name)
        for metric, outputs in zip(metrics, judged, strict=True):
            metric.update(*within_lengths(outputs, labels, batch, objective))
        if count <= _COMPARED_BATCHES:
            comparison.update(wanted, found)
    if not metrics:
        raise DataError("the data holds no batch to check on")
    before, after = metrics
    return (
        comparison,
        MetricChange(before.name, before.higher_is_better, before.value(), after.value(), labelled),
        count,
    )


def _metrics(objective: Objective, labels: npt.NDArray[np.generic] | None) -> list[Metric]:
    name = objective.metric or default_metric(labels, carries=bool(objective.carry))
    return [make_metric(name), make_metric(name)]


def _stand_in(reference: npt.NDArray[np.generic], metric: str) -> npt.NDArray[np.generic]:
    """Return what stands for labels: the reference's outputs, or the classes that it chooses."""
    return reference if metric in {"snr", "mse"} else np.asarray(reference.argmax(axis=-1))


def _first_inputs(pair: _Pair, source: Source, objective: Objective, seed: int) -> Arrays:
    batch = next(iter(source.batches(epoch=0, seed=seed, shuffle=False)))
    state = zero_state(pair.inputs, objective.carry.values(), batch)
    return {spec.name: batch[spec.name] if spec.name in batch else state[spec.name] for spec in pair.inputs}


def _over_limits(
    comparison: Comparison, metric: MetricChange | None, max_drop: float | None, max_difference: float | None
) -> list[str]:
    failures = []
    # "not within" rather than "beyond": NaN is beyond every limit.
    if metric is not None and max_drop is not None and not metric.drop <= max_drop:
        failures.append(
            f"{metric.name} went from {metric.before:.6g} to {metric.after:.6g}: "
            f"{metric.drop:.3g} worse, {max_drop:.3g} allowed"
        )
    if max_difference is not None:
        failures += [
            f"output {each.name!r} differs by {each.relative_l2:.3g} (relative L2), {max_difference:.3g} allowed"
            for each in comparison.differences()
            if not each.relative_l2 <= max_difference
        ]
    return failures


def _measure(
    pair: _Pair,
    facts: tuple[ModelFacts, ModelFacts],
    sample: Arrays,
    threads: int | None,
    seconds: float,
    native: bool,  # noqa: FBT001
) -> Iterator[ModelFacts]:
    latencies = measure_latency([partial(run, sample) for run in pair.runs], seconds=seconds)
    for fact, latency in zip(facts, latencies, strict=True):
        yield replace(fact, latency=latency, memory=measure_memory(fact.path, sample, threads=threads, native=native))
