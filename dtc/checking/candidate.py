"""The check of a candidate against its reference in the installed ONNX Runtime, as `dtc check` makes it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from dtc.checking.differences import Comparison
from dtc.checking.measurements import measure_latency, measure_memory
from dtc.checking.metric import PairMetric
from dtc.checking.options import CheckOptions
from dtc.checking.pair import CandidateError, Pair, open_pair
from dtc.checking.report import CheckReport, MetricChange, ModelFacts
from dtc.data import Source
from dtc.deploy.ops import DOMAIN
from dtc.deploy.ops.library import library_path
from dtc.errors import DataError, UsageError
from dtc.evaluate import stateful
from dtc.graph import file_bytes, load_model
from dtc.graph.signature import Arrays, zero_state
from dtc.sample_inputs import Inputs, sample_inputs
from dtc.session import runner, session

_DRAWS = 4
_COMPARED_BATCHES = 8  # the metric reads all data; for the distance of the outputs a few batches tell enough


def check(
    reference: str | Path, candidate: str | Path, *, source: Source | None = None, options: CheckOptions | None = None
) -> CheckReport:
    """Compare a candidate with its reference: outputs, metric, size, latency, memory.

    Inputs come from `source`, or are generated. The candidate fails if its inputs or outputs have other names, shapes
    or dtypes, if it cannot run, gives values that are not finite where the reference's are, or is over a limit of
    `options`.

    Raises:
        UsageError: There is a limit on the metric without data, or for a metric that has no value before.
        ModelError: A model cannot be loaded, or the reference cannot be run.
        DataError: The data does not fit the models, or no generated inputs do.
    """
    options = options or CheckOptions()
    if options.max_drop is not None and source is None:
        raise UsageError("a limit on the drop of the metric (--max-drop) needs data to measure it on: give --data")
    # 1. What can be told without a run: with other inputs or outputs there is nothing to compare.
    pair = open_pair(Path(reference), Path(candidate), options)
    before, after = (ModelFacts(path=path, file_bytes=file_bytes(path, load_model(path))) for path in pair.paths)
    report = CheckReport(reference=before, candidate=after, failures=pair.failures)
    if pair.failures:
        return report
    try:
        # 2. The outputs, and on data the metric. That the candidate cannot run is a finding, kept in the report; that
        #    the reference cannot is an error.
        report, sample = (
            _on_generated(pair, report, options) if source is None else _on_data(pair, report, source, options)
        )
        kernels = _kernel_difference(pair, sample) if options.native else None
    except CandidateError as error:
        return report.model_copy(update={"failures": (*report.failures, str(error))})
    report = report.model_copy(update={"kernels": kernels})
    # 3. What it costs, last: figures of a model that cannot run would mean nothing.
    return _measured(pair, report, sample, options) if options.seconds > 0 else report


def _on_generated(pair: Pair, report: CheckReport, options: CheckOptions) -> tuple[CheckReport, Arrays]:
    """Return the report with the differences of the outputs on generated inputs, and one draw of the inputs."""
    drawn = _draws(pair, options)
    comparison = Comparison()
    for feed in drawn:
        comparison.update(pair.runs[0](feed), pair.runs[1](feed))
    return _compared(report, comparison, f"generated, {len(drawn)} draws", None, options), drawn[-1]


def _draws(pair: Pair, options: CheckOptions) -> list[Inputs]:
    model = load_model(pair.paths[0])
    try:
        return sample_inputs(model, pair.runs[0], count=_DRAWS, seed=options.seed, fixed=options.fixed)
    except DataError as error:
        raise DataError(f"{pair.paths[0]}: {error}") from error


def _on_data(pair: Pair, report: CheckReport, source: Source, options: CheckOptions) -> tuple[CheckReport, Arrays]:
    """Return the report with the differences of outputs and metric on all data, and the inputs of the first batch."""
    # Each model is fed with the state that it carried over itself.
    streams = [
        stateful(run, source.batches(epoch=0, seed=options.seed, shuffle=False), options.objective, pair.inputs)
        for run in pair.runs
    ]
    comparison, metric, count = Comparison(), PairMetric(options), 0
    # In step, one batch of both at a time: outputs of all batches need not be kept.
    for count, ((wanted, batch), (found, _)) in enumerate(zip(*streams, strict=True), 1):
        metric.update(wanted, found, batch)
        if count <= _COMPARED_BATCHES:
            comparison.update(wanted, found)
    change = metric.change()
    return _compared(report, comparison, f"data, {count} batches", change, options), _first_inputs(
        pair, source, options
    )


def _first_inputs(pair: Pair, source: Source, options: CheckOptions) -> Arrays:
    batch = next(iter(source.batches(epoch=0, seed=options.seed, shuffle=False)))
    state = zero_state(pair.inputs, options.objective.carry.values(), batch)
    return {spec.name: batch[spec.name] if spec.name in batch else state[spec.name] for spec in pair.inputs}


def _compared(
    report: CheckReport, comparison: Comparison, inputs: str, metric: MetricChange | None, options: CheckOptions
) -> CheckReport:
    failures = (*comparison.problems, *_over_limits(comparison, metric, options))
    found = {"inputs": inputs, "differences": comparison.differences(), "metric": metric, "failures": failures}
    return report.model_copy(update=found)


def _over_limits(comparison: Comparison, metric: MetricChange | None, options: CheckOptions) -> Iterable[str]:
    max_drop, max_difference = options.max_drop, options.max_difference
    # "not within" rather than "beyond": NaN is beyond every limit.
    if metric is not None and max_drop is not None and not metric.drop <= max_drop:
        yield (
            f"{metric.name} went from {metric.before:.6g} to {metric.after:.6g}: "
            f"{metric.drop:.3g} worse, {max_drop:.3g} allowed"
        )
    if max_difference is None:
        return
    for each in comparison.differences():
        if not each.relative_l2 <= max_difference:
            yield f"output {each.name!r} differs by {each.relative_l2:.3g} (relative L2), {max_difference:.3g} allowed"


def _kernel_difference(pair: Pair, sample: Arrays) -> float | None:
    """Return the relative L2 difference of native kernels from the file's functions; None where no kernels ran."""
    path = pair.paths[1]
    if library_path() is None or not any(domain == DOMAIN for domain, *_ in load_model(path).functions):
        return None
    comparison = Comparison()
    comparison.update(runner(session(path, threads=1, native=False))(sample), pair.runs[1](sample))
    return max((each.relative_l2 for each in comparison.differences()), default=None)


def _measured(pair: Pair, report: CheckReport, sample: Arrays, options: CheckOptions) -> CheckReport:
    """Add latency and memory of both models to a report."""
    latencies = measure_latency([partial(run, sample) for run in pair.runs], seconds=options.seconds)
    before, after = (
        facts.model_copy(
            update={
                "latency": latency,
                "memory": measure_memory(facts.path, sample, threads=options.threads, native=options.native),
            }
        )
        for facts, latency in zip((report.reference, report.candidate), latencies, strict=True)
    )
    return report.model_copy(update={"reference": before, "candidate": after})
