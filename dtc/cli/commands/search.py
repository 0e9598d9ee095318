"""`dtc search`: which method at which rate for each site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtc.cli.sections import Option, Section, SectionedCommand, option
from dtc.cli.shared_options import exclude, include, seconds

if TYPE_CHECKING:
    from dtc.report.search_document import PointFacts, SearchReport
    from dtc.search import Found, Goal, Request

_ROWS = 12
"""Lines of a table of points."""


def _further() -> Iterator[Option]:
    from dtc.cli.recipe_options import search_options

    yield from search_options()


@click.command("search", cls=SectionedCommand, further=_further)
@click.argument("model", type=click.Path(path_type=Path))
@option(
    Section.MODEL,
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="file to write; default: MODEL with `searched` in its name; its recipe is written beside it",
)
@option(Section.MODEL, "--force", is_flag=True, help="overwrite the output, and begin an earlier search anew")
@option(
    Section.MODEL,
    "--report",
    type=click.Path(path_type=Path),
    help="folder for report.html, report.json",
)
@option(Section.MODEL, "--json", "as_json", is_flag=True, help="print what was found as JSON")
@option(
    Section.GOAL,
    "--max-drop",
    help="smallest file that loses no more than this of the metric, in its own unit (0.01: a point of accuracy), or as "
    "a share of the original's (1%); without labels of agreement, or the relative L2 of the outputs",
)
@option(Section.GOAL, "--target-size", help="best file within a size: 500kB, 1.5MB or bytes")
@option(Section.GOAL, "--target-ratio", type=click.FloatRange(min=1), help="best file that is so many times smaller")
@option(
    Section.GOAL,
    "--max-latency-ratio",
    type=click.FloatRange(min=0, max=1, min_open=True),
    help="best file among those that take so much of the original's time at the most, such as 0.7; measured on this "
    "machine, on one thread and batches as the data has them",
)
@option(
    Section.METHOD,
    "--methods",
    multiple=True,
    help="method to try, or two joined such as prune+binary (repeatable, or with commas); default: all that need "
    "samples alone",
)
@include
@exclude
@option(
    Section.GOAL, "--time", "time_limit", help="begin no evaluation after 90s, 20m or 1.5h, and take the best by then"
)
@option(
    Section.TRAINING,
    "--retrain",
    type=click.FloatRange(min=0, min_open=True),
    help="epochs in which files that may come back within the goal are retrained, in run directories in the folder of "
    "the search; the best of all is written",
)
@option(
    Section.OTHER,
    "--workers",
    type=click.IntRange(min=1),
    help="processes; the result is the same for any number [default: one a core]",
)
@option(
    Section.OTHER,
    "--memory",
    help="memory to use, such as 8G, by all processes together; default: what is free. What does not fit is computed "
    "again, with the same result",
)
@option(
    Section.OTHER,
    "--ray",
    metavar="ADDRESS",
    help="evaluate on a Ray cluster instead, all of whose nodes see the same files: auto, or HOST:PORT of its head",
)
@option(
    Section.OTHER,
    "--folder",
    type=click.Path(path_type=Path),
    help="keeps what was evaluated: the same command goes on where it was interrupted; default: OUTPUT.dtc-search",
)
@seconds
def command(model: Path, **options: Any) -> None:
    """Search which method at which rate each site shall have.

    Single sites are measured first, then the best mixes by exact allocation; the best that keeps the goal on samples
    which the search has not seen is written, with its recipe. Exit status 1 if none does: then the nearest is.

    \b
    dtc search model.onnx --data train.npz --max-drop 0.01
    dtc search model.onnx --data train.npz --target-size 500kB
    """  # noqa: D301 - the backspace keeps click from joining the lines
    from dtc.cli.search_progress import search_progress
    from dtc.cli.told_recipe import save_recipe, searched_recipe
    from dtc.search import search

    recipe, request = searched_recipe(options), _request(model, options)
    with search_progress(quiet=options["as_json"]) as on_event:
        found = search(model, recipe, request, on_event=on_event)
    place = request.job.output.with_suffix(".recipe.yaml")
    save_recipe(found.recipe, place, force=True)
    if options["as_json"]:
        click.echo(found.report.to_json(indent=2))
    else:
        _show(found, request.goal, place)
    found.raise_if_missed()


def _request(model: Path, options: dict[str, Any]) -> Request:
    from dtc.cli.parse import byte_size, read_time
    from dtc.cli.told_recipe import searched_training
    from dtc.job import Job
    from dtc.search import Request

    job = Job(
        options["output"] or model.with_name(f"{model.stem}.searched.onnx"),
        force=options["force"],
        seconds=options["seconds"],
        report=options["report"],
        memory=byte_size(options["memory"], "--memory"),
    )
    return Request(
        goal=_goal(options),
        job=job,
        methods=tuple(name.strip() for word in options["methods"] for name in word.split(",")),
        include=options["include"] or ("*",),
        exclude=options["exclude"],
        folder=options["folder"],
        force=options["force"],
        workers=options["workers"],
        seconds=None if options["time_limit"] is None else read_time(options["time_limit"]),
        training=searched_training(options),
        ray=options["ray"],
    )


def _goal(options: dict[str, Any]) -> Goal:
    from dtc.cli.parse import byte_size, read_drop
    from dtc.search import Goal

    drop, relative = (None, False) if options["max_drop"] is None else read_drop(options["max_drop"])
    size = byte_size(options["target_size"], "--target-size")
    return Goal(
        max_drop=drop,
        relative=relative,
        target_bytes=size,
        target_ratio=options["target_ratio"],
        max_latency_ratio=options["max_latency_ratio"],
    )


def _show(found: Found, goal: Goal, recipe: Path) -> None:
    from dtc.cli.render import size, table, tell

    report, chosen = found.report, found.report.chosen
    timed = [">of the time"] if goal.is_timed else []
    head = ["file", ">bytes", ">ratio", *timed, ">loss", ">\N{PLUS-MINUS SIGN}", ">samples", ">distance", "made of"]
    tell(
        f"{report.model_bytes / chosen.bytes:.2f}x smaller ({size(report.model_bytes)} -> {size(chosen.bytes)}), "
        f"losing {goal.loss_words(report.unseen_drop)} of {report.loss}"
    )
    tell(f"judged by {report.unseen}, which tell it to \N{PLUS-MINUS SIGN}{goal.error_words(report.unseen_error)}")
    if report.latency is not None:
        tell(f"a run takes {report.latency:.2f} of the original's time")
    if report.missed is not None:
        tell(f"failed: no file reaches the goal; the nearest {report.missed}")
    near = _near(report)
    table(head, [_row(each, report, goal) for each in near], title="files that were built and measured")
    if any(each.refused for each in near):
        tell("refused: lost too much on the samples that the search has not seen")
    best = report.best_uniform()
    if best is not None and goal.max_drop is not None:
        tell(f"best with one method and rate: {size(best.bytes)}, {best.words}, losing {goal.loss_words(best.drop)}")
    for note in report.notes:
        tell(f"note: {note}")
    tell(f"written: {found.compression.output}")
    tell(f"recipe: {recipe}")
    for page in found.compression.pages:
        tell(f"report: {page}")


def _near(report: SearchReport) -> list[PointFacts]:
    """Return the points of the front that are nearest to the chosen one in bytes, from the smallest on."""
    others = [each for each in report.front if each != report.chosen]
    points = sorted([*others, report.chosen], key=lambda each: each.bytes)
    near = sorted(points, key=lambda each: abs(each.bytes - report.chosen.bytes))[:_ROWS]
    return [each for each in points if each in near]


def _row(point: PointFacts, report: SearchReport, goal: Goal) -> list[str]:
    from dtc.cli.render import size

    return [
        report.fate(point),
        size(point.bytes),
        f"{report.model_bytes / point.bytes:.2f}x",
        *([] if point.latency is None else [f"{point.latency:.2f}"]),
        goal.loss_words(point.drop),
        goal.error_words(point.error),
        f"{point.samples:,}",
        f"{point.distance:.3g}",
        point.words,
    ]
