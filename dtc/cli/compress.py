"""`dtc compress`: the main job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dtc.cli.check import show_outcome
from dtc.cli.method_options import method_options
from dtc.cli.parse import fixed_inputs
from dtc.cli.progress import OnEvent, progress
from dtc.cli.recipe_options import recipe_options
from dtc.cli.render import console, shape, size, table
from dtc.cli.told_recipe import save_recipe, told_recipe
from dtc.errors import UsageError
from dtc.job import Job
from dtc.pipeline import Compression, compress, resume
from dtc.recipe import Recipe
from dtc.report import Report
from dtc.report.document import SiteOutcome


@click.command("compress")
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("-m", "--method", help="name of a method, see dtc inspect; with its options below")
@method_options
@click.option("--include", multiple=True, help="glob over site, node, op or role names (repeatable; default all)")
@click.option("--exclude", multiple=True, help="glob of sites to leave alone (repeatable)")
@click.option("--recipe", "recipe_file", type=click.Path(path_type=Path), help="YAML recipe in place of --method")
@click.option("--save-recipe", type=click.Path(path_type=Path), help="write the recipe of this command line")
@click.option("--retrain", is_flag=True, help="retrain with occasional distortion; without labels, distil")
@recipe_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="default: MODEL with the method in its name")
@click.option("--run", type=click.Path(path_type=Path), help="run directory; with --retrain default: OUTPUT.dtc-run")
@click.option(
    "--report", type=click.Path(path_type=Path), help="folder for report.html, report.json; a run has its own"
)
@click.option("--dump", type=click.Path(path_type=Path), help="folder for the model after each stage, checked there")
@click.option("--resume", "resumed", type=click.Path(path_type=Path), help="go on with an interrupted run directory")
@click.option("--force", is_flag=True, help="overwrite the output")
@click.option("--max-drop", type=click.FloatRange(min=0), help="exit with status 1 if the metric loses more than this")
@click.option("--input", "inputs", multiple=True, help="NAME=VALUE: an input that the check holds fixed (repeatable)")
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=2.0, show_default=True, help="for latency; 0: not measured"
)
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON")
def command(model: Path | None, **options: Any) -> None:
    """Compress MODEL, check the written file, and print what was gained and lost.

    \b
    dtc compress model.onnx --method svd --rank 96
    dtc compress model.onnx --method svd --rank 96 --retrain --data train.npz
    """  # noqa: D301 - the backspace keeps click from joining the lines
    as_json = options["as_json"]
    with progress(quiet=as_json) as on_event:
        if options["resumed"] is not None:
            result = resume(options["resumed"], force=options["force"], dump=options["dump"], on_event=on_event)
        else:
            result = _start(model, options, on_event)
    if as_json:
        click.echo(result.report.to_json(indent=2))
    else:
        _show(result)
    result.raise_if_failed()


def _start(model: Path | None, options: dict[str, Any], on_event: OnEvent) -> Compression:
    if model is None:
        raise UsageError("name the model to compress: dtc compress MODEL --method svd --rank 96 (or --resume RUN)")
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
        describe_weights=options["as_json"],
        dump=options["dump"],
    )
    return compress(model, recipe, job, run=options["run"], on_event=on_event)


def _default_output(model: Path, recipe: Recipe) -> Path:
    methods = "-".join(dict.fromkeys(rule.method.replace("+", "-") for rule in recipe.rules))
    return model.with_name(f"{model.stem}.{methods}.onnx")


def _show(result: Compression) -> None:
    report = result.report
    _show_sites(report.sites)
    _show_gain(report)
    if report.check is not None:
        show_outcome(report.check)
    for note in report.notes:
        console.print(note, markup=False)
    if report.training is not None:
        share = report.training.distortion_share
        console.print(f"distortions took {share:.1%} of the training time; run directory: {result.run}")
    elif result.run is not None:
        console.print(f"run directory: {result.run}")
    console.print(f"written: {result.output}")
    for page in result.pages:
        console.print(f"report: {page}")


def _show_gain(report: Report) -> None:
    if report.fidelity is not None:
        unrounded = ", activations not rounded" if report.fidelity.quantizers else ""
        worst = report.fidelity.relative_l2 or 0.0
        console.print(f"written file against the distorted dense model{unrounded}: at most {worst:.1e} relative L2")
    if report.ratios is not None and report.output is not None:
        console.print(
            f"ratios: sites {report.ratios.sites:.2f}x, whole file {report.ratios.file:.2f}x "
            f"({size(report.model.bytes)} -> {size(report.output.bytes)}), "
            f"{report.ratios.bits_per_weight:.2f} bits per weight"
        )


def _show_sites(sites: Sequence[SiteOutcome]) -> None:
    rows = [
        [
            site.name,
            site.role,
            shape(site.shape),
            f"{site.form}, {site.detail}" if site.form else "left alone",
            size(site.nbytes),
            size(site.stored_bytes),
            "" if site.error is None else f"{site.error:.2e}",
            site.reason or site.lowered or "",
        ]
        for site in sites
    ]
    table(["site", "role", "shape", "form", ">before", ">after", ">rel. error", "in the file, or why not"], rows)
