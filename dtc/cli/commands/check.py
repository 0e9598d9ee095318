"""`dtc check`: a candidate against its reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtc.cli.sections import Option, Section, SectionedCommand, option
from dtc.cli.shared_options import custom_ops, fixed_inputs, json_for_tables, portable, seconds
from dtc.errors import CheckFailedError

if TYPE_CHECKING:
    from dtc.checking import CheckOptions, CheckReport
    from dtc.checking.differences import OutputDifference
    from dtc.data import Source
    from dtc.recipe import Objective


def _further() -> Iterator[Option]:
    from dtc.cli.recipe_options import objective_and_data_options

    return objective_and_data_options()


@click.command("check", cls=SectionedCommand, further=_further)
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@option(
    Section.CHECKING,
    "--max-drop",
    type=click.FloatRange(min=0),
    help="largest allowed loss of the metric, in its own unit",
)
@option(
    Section.CHECKING,
    "--max-difference",
    type=click.FloatRange(min=0),
    help="largest allowed relative L2 of any output",
)
@fixed_inputs
@seconds
@option(Section.CHECKING, "--threads", type=click.IntRange(min=1), help="threads of ONNX Runtime; else all cores")
@option(Section.CHECKING, "--seed", type=int, default=0, show_default=True, help="of generated inputs")
@option(
    Section.CHECKING,
    "--memory",
    help="memory to use, such as 8G; default: what is free. Large models are run one after the other, in less of it",
)
@portable
@option(
    Section.CHECKING,
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME[@PYTHON]",
    help="run the candidate in another runtime too, and compare: openvino, tract, mnn, reference, onnxruntime; "
    "PYTHON is an interpreter that has it, else this one (repeatable)",
)
@custom_ops
@json_for_tables
def command(reference: Path, candidate: Path, **options: Any) -> None:
    """Compare a compressed model with its reference.

    CANDIDATE and REFERENCE are run in ONNX Runtime: outputs, metric, size, latency, memory.
    Exit status 1 when the candidate loses more than allowed, or nothing could be compared; without a limit it is not
    judged.
    """
    from dtc.checking import check
    from dtc.cli.progress import progress
    from dtc.custom_ops import custom_ops

    with custom_ops(options["custom_ops"]), progress(quiet=options["as_json"]) as on_batch:
        told = replace(_told(options), on_batch=on_batch)
        report = check(reference, candidate, source=_samples(reference, told.objective, options), options=told)
    if options["as_json"]:
        click.echo(report.to_json(indent=2))
    else:
        show_outcome(report)
    if report.failures:
        raise CheckFailedError(f"{candidate}: {'; '.join(report.failures)}")


def _samples(reference: Path, objective: Objective, options: dict[str, Any]) -> Source | None:
    """Return what is held out of --data, as in a compression, or all of --eval-data."""
    from dtc.cli.recipe_options import overridden
    from dtc.data import Samples, fixed_batch
    from dtc.graph import load_model
    from dtc.recipe import Data

    data = overridden(Data(), options)
    if data.train is None and data.evaluate is None:
        return None
    fixed = fixed_batch(load_model(reference), objective)
    return Samples(data, fixed_batch=fixed, carries=bool(objective.carry)).evaluation


def _told(options: dict[str, Any]) -> CheckOptions:
    from dtc.checking import CheckOptions
    from dtc.checking.runtime import find_runtime
    from dtc.cli.parse import byte_size, fixed_inputs
    from dtc.cli.recipe_options import overridden
    from dtc.recipe import Objective

    return CheckOptions(
        objective=overridden(Objective(), options),
        max_drop=options["max_drop"],
        max_difference=options["max_difference"],
        fixed=fixed_inputs(options["inputs"]),
        seed=options["seed"],
        threads=options["threads"],
        seconds=options["seconds"],
        native=not options["portable"],
        runtimes=tuple(map(find_runtime, options["runtimes"])),
        memory=byte_size(options["memory"], "--memory"),
    )


def show_outcome(report: CheckReport) -> None:
    """Print a check: before, after, and their relation; each output; what was not compared, and what came of it."""
    from dtc.cli.render import table, tell

    table(["", ">before", ">after", ">"], _comparison(report))
    if report.metric is not None:
        tell(f"{report.metric.name}: of {report.metric.samples}")
    if report.kernels is not None:
        tell(f"native kernels against the functions in the file: at most {report.kernels:.1e} relative L2")
    if report.differences:
        table(
            ["output", ">max abs", ">relative L2", ">SNR dB", ">agreement"],
            [_output(each) for each in report.differences],
            title=f"outputs ({report.inputs})",
        )
    for each in report.elsewhere:
        if not each.failed:
            tell(each.words)
    for caveat in report.caveats:
        tell(f"note: {caveat}")
    for failure in report.failures:
        tell(f"failed: {failure}")
    if report.verdict == "not judged":
        tell("not judged: no limit was asked for")
    elif report.verdict == "passed":
        tell("passed: within the limits asked for")


def _comparison(report: CheckReport) -> list[list[str]]:
    from dtc.cli.render import milliseconds, size

    before, after = report.reference, report.candidate
    rows = [["file", size(before.file_bytes), size(after.file_bytes), f"{before.file_bytes / after.file_bytes:.2f}x"]]
    if before.latency and after.latency:
        medians = (before.latency.median, after.latency.median)
        rows.append(["latency, median of a run", *map(milliseconds, medians), f"{medians[0] / medians[1]:.2f}x"])
    if before.memory and after.memory:
        taken = (before.memory.taken, after.memory.taken)
        rows.append(["memory of load and run", *map(size, taken), f"{taken[0] / max(taken[1], 1):.2f}x"])
    if report.metric is not None:
        metric = report.metric
        name = metric.name if metric.labelled else f"{metric.name} (against the reference's own outputs)"
        # Of its own outputs a model has no noise: what the ratio is to that is beyond numbers.
        change = f"{metric.after - metric.before:+.4g}" if isfinite(metric.before) else ""
        rows.append([name, f"{metric.before:.6g}" if change else "", f"{metric.after:.6g}", change])
    return rows


def _output(each: OutputDifference) -> list[str]:
    agreement = "" if each.agreement is None else f"{each.agreement:.2%}"
    return [each.name, f"{each.max_abs:.3g}", f"{each.relative_l2:.3g}", f"{each.snr:.1f}", agreement]
