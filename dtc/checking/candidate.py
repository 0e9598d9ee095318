"""The check of a candidate against its reference in the installed ONNX Runtime, as `dtc check` makes it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from dtc.checking.differences import Comparison, OutputDifference, interface_differences
from dtc.checking.elsewhere import Expected, run_elsewhere
from dtc.checking.measurements import Latency, measure_latency, measure_memory
from dtc.checking.metric import PairMetric
from dtc.checking.options import CheckedBatch, CheckOptions
from dtc.checking.pair import CandidateError, Pair, open_pair
from dtc.checking.report import CheckReport, MetricChange, ModelFacts
from dtc.checking.trial import Trial
from dtc.data import Source, unread_arrays
from dtc.deploy.ops import DOMAIN
from dtc.deploy.ops.library import library_path
from dtc.errors import DataError, UsageError
from dtc.evaluate import stateful
from dtc.graph import file_bytes, load_model
from dtc.graph.signature import Arrays, TensorSpec, input_specs, output_specs, zero_state
from dtc.recipe import Objective
from dtc.sample_inputs import Inputs, InputSampler
from dtc.session import Outputs

_Ran: TypeAlias = tuple[Outputs, Arrays]
"""What a model gave for a batch, and the batch."""

_DRAWS = 4
_COMPARED_BATCHES = 8  # the metric reads all data; for the distance of the outputs a few batches tell enough


def check(
    reference: str | Path, candidate: str | Path, *, source: Source | None = None, options: CheckOptions | None = None
) -> CheckReport:
    """Compare a candidate with its reference: outputs, metric, size, latency, memory.

    Inputs come from `source`, or are generated. The candidate fails if its inputs or outputs have other names, shapes
    or dtypes, if it cannot run, gives values that are not finite where the reference's are, or is over a limit of
    `options`; and so does a comparison in which an output of the reference held no finite number at all. Inputs are
    sought that make numbers of every output, and that take every branch.

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
    before, after = (
        ModelFacts(path=path, file_bytes=file_bytes(path, model))
        for path, model in zip(pair.paths, pair.models, strict=True)
    )
    judged = options.max_drop is not None or options.max_difference is not None
    report = CheckReport(reference=before, candidate=after, failures=pair.failures, judged=judged)
    if pair.failures:
        return report
    try:
        # 2. The outputs, and on data the metric. That the candidate cannot run is a finding, kept in the report; that
        #    the reference cannot is an error.
        report, trial, sample = (
            _on_generated(pair, report, options) if source is None else _on_data(pair, report, source, options)
        )
        kernels = _kernel_difference(pair, sample) if options.native else None
    except CandidateError as error:
        return report.model_copy(update={"failures": (*report.failures, str(error))})
    report = report.model_copy(update={"kernels": kernels})
    if options.runtimes:
        report = _checked_elsewhere(pair, report, trial.feeds, options)
    # 3. What it costs, last: figures of a model that cannot run would mean nothing.
    return _measured(pair, report, sample, options) if options.seconds > 0 else report


def check_unrun(reference: Path, candidate: Path, why: str) -> CheckReport:
    """Compare what two files say of themselves, where the models are too large to be run; `why` tells that.

    Raises:
        ModelError: A model cannot be loaded.
    """
    models = load_model(reference), load_model(candidate)
    (inputs, other_inputs), (outputs, other_outputs) = (map(specs, models) for specs in (input_specs, output_specs))
    failures = interface_differences("input", inputs, other_inputs)
    failures += interface_differences("output", outputs, other_outputs)
    before, after = (
        ModelFacts(path=path, file_bytes=file_bytes(path, model))
        for path, model in zip((reference, candidate), models, strict=True)
    )
    return CheckReport(reference=before, candidate=after, failures=tuple(failures), caveats=(why,))


def _on_generated(pair: Pair, report: CheckReport, options: CheckOptions) -> tuple[CheckReport, Trial, Inputs]:
    """Add to a report how the outputs differ on generated inputs and on examples; return one of them beside it."""
    trial = Trial(pair)
    sampler = _sampler(pair, options, needed=not options.examples)
    drawn = sampler.draws(_DRAWS) if sampler else []
    trial.compare([*options.examples, *drawn])
    if sampler:
        trial.seek(sampler)
    words = [f"generated, {len(drawn)} draws"] if drawn else []
    words += trial.words
    words += [f"{len(options.examples)} of the data"] if options.examples else []
    return _compared(report, trial, ", ".join(words), None, options), trial, dict([*options.examples, *drawn][-1])


def _sampler(pair: Pair, options: CheckOptions, *, needed: bool) -> InputSampler | None:
    """Return what draws inputs; where it is not `needed`, None if nothing that it draws suits the model.

    Raises:
        DataError: It is needed, and nothing suits, or an input that is held fixed does not exist.
    """
    try:
        return InputSampler(pair.models[0], pair.attempt, seed=options.seed, fixed=options.fixed)
    except DataError as error:
        if not needed:
            return None
        known = options.called[0] if options.called else pair.paths[0]
        raise DataError(f"{known}: {error}") from error


def _on_data(
    pair: Pair, report: CheckReport, source: Source, options: CheckOptions
) -> tuple[CheckReport, Trial, Inputs]:
    """Add to a report how the outputs and the metric differ on all data; return the first inputs beside it."""
    trial, counted = Trial(pair), itertools.count()

    def run_reference(feed: Arrays) -> Outputs:
        return trial.run_reference(feed) if next(counted) < _COMPARED_BATCHES else pair.runs[0](feed)

    # Each model is fed with the state that it carried over itself.
    first, second = (
        stateful(run, source.batches(epoch=0, seed=options.seed, shuffle=False), options.objective, pair.inputs)
        for run in (run_reference, pair.runs[1])
    )
    metric, count = PairMetric(options), 0
    # In step, some batches of both at a time: outputs of all need not be kept.
    for count, ((wanted, batch), (found, _)) in enumerate(_by_turns(first, second, pair.turns.block), 1):
        metric.update(wanted, found, batch)
        options.on_batch(CheckedBatch(count, source.length))
        if count <= _COMPARED_BATCHES:
            trial.comparison.update(wanted, found)
    change = metric.change(f"{source.words}, {count} batch{'' if count == 1 else 'es'}")
    sampler = _sampler(pair, options, needed=False)
    if sampler:
        trial.seek(sampler)
    words = ", ".join([f"data, {count} batches", *trial.words])
    sample = first_inputs(pair.inputs, source, options.objective, options.seed)
    return _compared(report, trial, words, change, options, _unread(pair, source, options)), trial, sample


def _unread(pair: Pair, source: Source, options: CheckOptions) -> tuple[str, ...]:
    """Return in words which arrays of the data nothing reads."""
    batch = next(iter(source.batches(epoch=0, seed=options.seed, shuffle=False)), {})
    return unread_arrays(batch, [spec.name for spec in pair.inputs], options.objective)


def _by_turns(first: Iterator[_Ran], second: Iterator[_Ran], block: int) -> Iterator[tuple[_Ran, _Ran]]:
    """Yield what two streams give, in pairs; each is read on until that of the first takes `block` bytes."""
    while held := list(_taken(first, block)):
        yield from zip(held, second, strict=False)  # the second goes on with the next ones


def _taken(stream: Iterator[_Ran], block: int) -> Iterator[_Ran]:
    held = 0
    for outputs, batch in stream:
        yield outputs, batch
        held += sum(each.nbytes for each in (*outputs.values(), *batch.values()) if isinstance(each, np.ndarray))
        if held >= block:
            return


def first_inputs(inputs: Sequence[TensorSpec], source: Source, objective: Objective, seed: int) -> Inputs:
    """Return the first batch of a source as inputs; state that is carried starts with zeros.

    Raises:
        DataError: The source is empty, or does not tell the size of the state.
    """
    batch = next(iter(source.batches(epoch=0, seed=seed, shuffle=False)), None)
    if batch is None:
        raise DataError("the data holds no batch to check on")
    state = zero_state(inputs, objective.carry.values(), batch)
    missing = [spec for spec in inputs if spec.name not in batch and spec.name not in state]
    if missing:
        needed, held = ", ".join(map(str, missing)), ", ".join(map(repr, batch))
        raise DataError(f"the model needs input {needed}, but the data holds only {held}")
    return {spec.name: batch[spec.name] if spec.name in batch else state[spec.name] for spec in inputs}


def _compared(
    report: CheckReport,
    trial: Trial,
    inputs: str,
    metric: MetricChange | None,
    options: CheckOptions,
    unread: tuple[str, ...] = (),
) -> CheckReport:
    differences = trial.comparison.differences()
    found = {
        "inputs": inputs,
        "differences": differences,
        "metric": metric,
        "failures": (*trial.failures(), *_over_limits(differences, metric, options)),
        "caveats": (*unread, *trial.caveats()),
    }
    return report.model_copy(update=found)


def _over_limits(
    differences: Iterable[OutputDifference], metric: MetricChange | None, options: CheckOptions
) -> Iterable[str]:
    max_drop, max_difference = options.max_drop, options.max_difference
    # "not within" rather than "beyond": NaN is beyond every limit.
    if metric is not None and max_drop is not None and not metric.drop <= max_drop:
        yield (
            f"{metric.name} went from {metric.before:.6g} to {metric.after:.6g}: "
            f"{metric.drop:.3g} worse, {max_drop:.3g} allowed"
        )
    if max_difference is None:
        return
    because = f" ({options.because})" if options.because else ""
    for each in differences:
        if not each.relative_l2 <= max_difference:
            allowed = f"{max_difference:.3g} allowed{because}"
            yield f"output {each.name!r} differs by {each.relative_l2:.3g} (relative L2), {allowed}"


def _checked_elsewhere(
    pair: Pair, report: CheckReport, feeds: Sequence[Mapping[str, Any]], options: CheckOptions
) -> CheckReport:
    """Add to a report what other runtimes make of the candidate."""
    if pair.random:
        caveat = "other runtimes were not compared, as the model draws random numbers"
        return report.model_copy(update={"caveats": (*report.caveats, caveat)})
    feeds = [{spec.name: feed[spec.name] for spec in pair.inputs} for feed in feeds]  # labels are no inputs
    if not pair.turns.at_once:
        pair.turns.close()
    reference, candidate = (Expected.of(path, feeds) for path in pair.paths)
    found = tuple(run_elsewhere(runtime, reference, candidate, feeds) for runtime in options.runtimes)
    failures = tuple(each.words for each in found if each.failed)
    return report.model_copy(update={"elsewhere": found, "failures": (*report.failures, *failures)})


def _kernel_difference(pair: Pair, sample: Inputs) -> float | None:
    """Run the candidate without the native kernels too, if it has operators that they are for."""
    path = pair.paths[1]
    if library_path() is None or not any(domain == DOMAIN for domain, *_ in pair.models[1].functions):
        return None
    comparison = Comparison()
    # Of a random model, two new sessions draw the same.
    native = pair.run_of(path, threads=1) if pair.random else pair.runs[1]
    portable = pair.run_of(path, threads=1, native=False, sparing=not pair.turns.at_once)
    comparison.update(portable(sample), native(sample))
    return max((each.relative_l2 for each in comparison.differences()), default=None)


def _latencies(pair: Pair, sample: Inputs, seconds: float) -> list[Latency]:
    """Time both models, in turns where both are open; of large ones no session is left."""
    runs = [partial(run, sample) for run in pair.runs]
    if pair.turns.at_once:
        return measure_latency(runs, seconds=seconds)
    found = [measure_latency([run], seconds=seconds / 2)[0] for run in runs]
    pair.turns.close()
    return found


def _measured(pair: Pair, report: CheckReport, sample: Inputs, options: CheckOptions) -> CheckReport:
    """Add latency and memory of both models to a report."""
    if pair.decodes_in_runs:
        caveat = "latency and memory were not measured: without the native library each run decodes the weights anew"
        return report.model_copy(update={"caveats": (*report.caveats, caveat)})
    latencies = _latencies(pair, sample, options.seconds)
    names = options.called or tuple(map(str, pair.paths))
    before, after = (
        facts.model_copy(
            update={
                "latency": latency,
                "memory": measure_memory(
                    facts.path, sample, threads=options.threads, native=options.native, called=called
                ),
            }
        )
        for facts, latency, called in zip((report.reference, report.candidate), latencies, names, strict=True)
    )
    return report.model_copy(update={"reference": before, "candidate": after})
