"""`dtc compress`: the main job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtc.cli.method_command import MethodCommand
from dtc.cli.sections import Option, Section, option
from dtc.errors import UsageError

if TYPE_CHECKING:
    from dtc.cli.progress import OnEvent
    from dtc.pipeline import Compression
    from dtc.recipe import Recipe
    from dtc.summary import Summary


def _further() -> Iterator[Option]:
    from dtc.cli.method_options import method_options
    from dtc.cli.recipe_options import recipe_options

    yield from method_options()
    yield from recipe_options()


@click.command("compress", cls=MethodCommand, further=_further)
@click.argument("model", type=click.Path(path_type=Path), required=False)
@option(
    Section.MODEL,
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="file to write; default: MODEL with the method in its name",
)
@option(Section.MODEL, "--force", is_flag=True, help="overwrite the output")
@option(
    Section.MODEL,
    "--report",
    type=click.Path(path_type=Path),
    help="folder for report.html, report.json; a run has its own",
)
@option(Section.MODEL, "--json", "as_json", is_flag=True, help="print the result as JSON")
@option(
    Section.METHOD,
    "-m",
    "--method",
    help="name of a method, or two joined such as prune+binary, with its options [required, or --recipe]",
)
@option(
    Section.METHOD,
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path),
    help="YAML recipe in place of --method: several methods, each for some sites",
)
@option(Section.METHOD, "--save-recipe", type=click.Path(path_type=Path), help="write the recipe of this command line")
@option(
    Section.METHOD, "--include", multiple=True, help="glob over site, node, op or role names (repeatable; default all)"
)
@option(Section.METHOD, "--exclude", multiple=True, help="glob of sites to leave alone (repeatable)")
@option(
    Section.TRAINING,
    "--retrain",
    is_flag=True,
    help="retrain with occasional distortion; without labels, distil [needs --data]",
)
@option(
    Section.TRAINING,
    "--run",
    type=click.Path(path_type=Path),
    help="run directory of the retraining; default: OUTPUT.dtc-run",
)
@option(
    Section.TRAINING,
    "--resume",
    "resumed",
    type=click.Path(path_type=Path),
    help="go on with an interrupted run directory; nothing else is needed",
)
@option(
    Section.CHECKING,
    "--max-drop",
    type=click.FloatRange(min=0),
    help="exit with status 1 if the metric loses more than this, in its own unit [needs --data]",
)
@option(
    Section.CHECKING,
    "--input",
    "inputs",
    multiple=True,
    help="NAME=VALUE: an input that the check holds fixed (repeatable)",
)
@option(
    Section.CHECKING,
    "--seconds",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="for latency; 0: not measured",
)
def command(model: Path | None, **options: Any) -> None:
    """Compress a model, and check the written file.

    What was gained and lost is printed. MODEL and either --method or --recipe are required, but for --resume.

    \b
    dtc compress model.onnx --method svd --rank 96
    dtc compress model.onnx --method svd --rank 96 --retrain --data train.npz
    """  # noqa: D301 - the backspace keeps click from joining the lines
    from dtc.cli.jsonable import to_json
    from dtc.cli.progress import progress
    from dtc.pipeline import resume

    as_json = options["as_json"]
    with progress(quiet=as_json) as on_event:
        if options["resumed"] is not None:
            result = resume(options["resumed"], force=options["force"], on_event=on_event)
        else:
            result = _start(model, options, on_event)
    if as_json:
        click.echo(to_json(result))
    else:
        _show(result)
    result.raise_if_failed()


def _start(model: Path | None, options: dict[str, Any], on_event: OnEvent) -> Compression:
    if model is None:
        raise UsageError("name the model to compress: dtc compress MODEL --method svd --rank 96 (or --resume RUN)")
    from dtc.cli.parse import fixed_inputs
    from dtc.cli.told_recipe import save_recipe, told_recipe
    from dtc.job import Job
    from dtc.pipeline import compress

    recipe = told_recipe(options)
    if options["save_recipe"] is not None:
        save_recipe(recipe, options["save_recipe"], force=options["force"])
    job = Job(
        options["output"] or _default_output(model, recipe),
        force=options["force"],
        max_drop=options["max_drop"],
        fixed=fixed_inputs(options["inputs"]),
        seconds=options["seconds"],
        report=options["report"],
    )
    return compress(model, recipe, job, run=options["run"], on_event=on_event)


def _default_output(model: Path, recipe: Recipe) -> Path:
    methods = "-".join(dict.fromkeys(rule.method.replace("+", "-") for rule in recipe.rules))
    return model.with_name(f"{model.stem}.{methods}.onnx")


def _show(result: Compression) -> None:
    from dtc.cli.commands.check import show_outcome
    from dtc.cli.render import console, size

    _show_sites(result.summary)
    worst = max((each.relative_l2 for each in result.faithful.differences), default=0.0)
    unrounded = ", activations not rounded" if result.quantizers else ""
    console.print(f"written file against the distorted dense model{unrounded}: at most {worst:.1e} relative L2")
    before, after = result.summary.file_bytes
    console.print(
        f"ratios: sites {result.summary.sites_ratio:.2f}x, whole file {result.summary.file_ratio:.2f}x "
        f"({size(before)} -> {size(after)}), {result.summary.bits_per_weight:.2f} bits per weight"
    )
    show_outcome(result.outcome)
    if result.measured:
        console.print(
            f"statistics of {result.measured} BatchNormalizations measured anew on the samples (--batch-norm frozen "
            "leaves them)"
        )
    if result.training is not None:
        share = result.training.distortion_share
        console.print(f"distortions took {share:.1%} of the training time; run directory: {result.training.run}")
    console.print(f"written: {result.output}")
    for page in result.reports:
        console.print(f"report: {page}")


def _show_sites(summary: Summary) -> None:
    from dtc.cli.render import shape, size, table

    rows = [
        [
            row.name,
            row.role,
            shape(row.shape),
            f"{row.form}, {row.detail}" if row.form else "left alone",
            size(row.dense_bytes),
            size(row.stored_bytes),
            "" if row.error is None else f"{row.error:.2e}",
            row.reason or row.lowered or "",
        ]
        for row in summary.sites
    ]
    table(["site", "role", "shape", "form", ">before", ">after", ">rel. error", "in the file, or why not"], rows)
