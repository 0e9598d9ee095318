"""`dtc compress`: the main job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtc.cli.method_command import MethodCommand
from dtc.cli.sections import Option, Section, option
from dtc.cli.shared_options import exclude, fixed_inputs, include, seconds
from dtc.errors import UsageError

if TYPE_CHECKING:
    from dtc.cli.progress import OnEvent
    from dtc.job import Job
    from dtc.pipeline import Compression
    from dtc.recipe import Recipe
    from dtc.report import Report
    from dtc.report.document import SiteOutcome

_AUTO = "auto"


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
@option(Section.MODEL, "--dry-run", is_flag=True, help="print what would become of each site, and what it would take")
@option(Section.MODEL, "--json", "as_json", is_flag=True, help="print the report as JSON")
@option(Section.MODEL, "--sites", "every_site", is_flag=True, help="print a row for each site, of many alike too")
@option(
    Section.METHOD,
    "-m",
    "--method",
    help="name of a method, or two joined such as prune+binary, with its options; auto: those that dtc search finds "
    "for the smallest file within --max-drop, or 1 % of the metric [required, or --recipe]",
)
@option(
    Section.METHOD,
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path),
    help="YAML recipe in place of --method: several methods, each for some sites",
)
@option(Section.METHOD, "--save-recipe", type=click.Path(path_type=Path), help="write the recipe of this command line")
@include
@exclude
@option(Section.MODEL, "--allow-growth", is_flag=True, help="write the file even if it is larger than the model")
@option(
    Section.TRAINING,
    "--retrain",
    is_flag=True,
    help="retrain with occasional distortion; without labels, distil [needs --data]",
)
@option(
    Section.MODEL,
    "--run",
    type=click.Path(path_type=Path),
    help="run directory, which remembers the compression; with --retrain default: OUTPUT.dtc-run",
)
@option(
    Section.MODEL,
    "--memory",
    help="memory to use, such as 8G; default: what is free. What would not fit is not run, and said so",
)
@option(
    Section.MODEL,
    "--workers",
    type=click.IntRange(min=1),
    help="processes that distort weights, which change no result; default: one a core, as memory allows",
)
@option(
    Section.MODEL,
    "--dump",
    type=click.Path(path_type=Path),
    help="folder for the model after each stage, each checked",
)
@option(
    Section.DATA,
    "--allow-code",
    is_flag=True,
    help="run the Python functions that a recipe file or a run directory names as data",
)
@option(
    Section.TRAINING,
    "--resume",
    "resumed",
    type=click.Path(path_type=Path),
    help="go on with an interrupted run directory; nothing else is needed; --engine, --device and --processes may be "
    "others",
)
@option(
    Section.CHECKING,
    "--max-drop",
    type=click.FloatRange(min=0),
    help="exit with status 1 if the metric loses more than this, in its own unit [needs --data]",
)
@fixed_inputs
@seconds
def command(model: Path | None, **options: Any) -> None:
    """Compress a model, and check the written file.

    What was gained and lost is printed. MODEL and either --method or --recipe are required, but for --resume.

    \b
    dtc compress model.onnx --method svd --rank 96
    dtc compress model.onnx --method svd --rank 96 --retrain --data train.npz
    """  # noqa: D301 - the backspace keeps click from joining the lines
    if options["dry_run"]:
        _foretell(_required(model), options)
        return
    chosen_by_search = options["method"] == _AUTO and options["resumed"] is None
    result = _searched(model, options) if chosen_by_search else _compressed(model, options)
    if options["as_json"]:
        click.echo(result.report.to_json(indent=2))
    else:
        _show(result, every=options["every_site"])
    result.raise_if_failed()


def _foretell(model: Path, options: dict[str, Any]) -> None:
    from dtc.cli.foretold import foretold, show_estimate
    from dtc.cli.told_recipe import told_recipe

    if options["method"] == _AUTO:
        raise UsageError(f"--method {_AUTO} does not go with --dry-run: what it chooses is not known before")
    recipe = told_recipe(options)
    found = foretold(model, recipe, _job(options, _default_output(model, recipe)), options)
    if options["as_json"]:
        click.echo(found.to_json(indent=2))
    else:
        show_estimate(found)


def _searched(model: Path | None, options: dict[str, Any]) -> Compression:
    from dtc.cli.automatic import compress_automatically

    model = _required(model)
    return compress_automatically(model, options, _job(options, model.with_name(f"{model.stem}.{_AUTO}.onnx")))


def _compressed(model: Path | None, options: dict[str, Any]) -> Compression:
    from dtc.cli.progress import progress
    from dtc.cli.resuming import refuse_what_a_run_has
    from dtc.pipeline import resume

    # Standard output is the report alone where it is JSON, so progress is silent.
    with progress(quiet=options["as_json"]) as on_event:
        if options["resumed"] is None:
            return _start(_required(model), options, on_event)
        told_again = ("force", "output", "report", "allow_code", "dump", "engine", "device", "processes")
        refuse_what_a_run_has({*told_again, "as_json", "every_site"})
        again = {name: options[name] for name in told_again}
        return resume(options["resumed"], **again, on_event=on_event)


def _required(model: Path | None) -> Path:
    if model is None:
        raise UsageError("name the model to compress: dtc compress MODEL --method svd --rank 96 (or --resume RUN)")
    return model


def _start(model: Path, options: dict[str, Any], on_event: OnEvent) -> Compression:
    from dtc.cli.told_recipe import save_recipe, told_recipe
    from dtc.pipeline import compress

    recipe = told_recipe(options)
    if options["save_recipe"] is not None:
        save_recipe(recipe, options["save_recipe"], force=options["force"])
    return compress(model, recipe, _job(options, _default_output(model, recipe)), run=options["run"], on_event=on_event)


def _job(options: dict[str, Any], output: Path) -> Job:
    from dtc.cli.parse import byte_size, fixed_inputs
    from dtc.job import Job

    return Job(
        options["output"] or output,
        force=options["force"],
        max_drop=options["max_drop"],
        fixed=fixed_inputs(options["inputs"]),
        seconds=options["seconds"],
        report=options["report"],
        describe_weights=options["as_json"],
        dump=options["dump"],
        allow_growth=options["allow_growth"],
        memory=byte_size(options["memory"], "--memory"),
        workers=options["workers"],
    )


def _default_output(model: Path, recipe: Recipe) -> Path:
    # Rules with prune+binary, svd and svd again: "model.prune-binary-svd.onnx".
    methods = "-".join(dict.fromkeys(rule.method.replace("+", "-") for rule in recipe.rules))
    return model.with_name(f"{model.stem}.{methods}.onnx")


def _show(result: Compression, *, every: bool) -> None:
    from dtc.cli.commands.check import show_outcome
    from dtc.cli.render import tell

    report = result.report
    _show_sites(report.sites, every=every)
    _show_gain(report)
    if report.check is not None:
        show_outcome(report.check)
    for note in report.notes:
        tell(note)
    if report.training is not None:
        share = report.training.distortion_share
        tell(f"distortions took {share:.1%} of the training time; run directory: {result.run}")
    elif result.run is not None:
        tell(f"run directory: {result.run}")
    tell(f"written: {result.output}")
    for page in result.pages:
        tell(f"report: {page}")


def _show_gain(report: Report) -> None:
    from dtc.cli.render import size, tell

    if report.by_site is not None:
        tell(report.by_site.words)
        for name, reason in report.by_site.not_checked.items():
            tell(f"not run alone: {name}: {reason}")
    if report.fidelity is not None:
        unrounded = ", activations not rounded" if report.fidelity.quantizers else ""
        worst = report.fidelity.relative_l2 or 0.0
        tell(f"written file against the distorted dense model{unrounded}: at most {worst:.1e} relative L2")
    if report.ratios is not None and report.output is not None:
        tell(
            f"ratios: sites {report.ratios.sites:.2f}x, whole file {report.ratios.file:.2f}x "
            f"({size(report.model.bytes)} -> {size(report.output.bytes)}), "
            f"{report.ratios.bits_per_weight:.2f} bits per weight"
        )


def _show_sites(sites: Sequence[SiteOutcome], *, every: bool) -> None:
    from dtc.cli.alike import labels, together
    from dtc.cli.render import shape, size, table, tell

    groups = together(sites, lambda site: (site.role, shape(site.shape), _form(site), _reason(site)), every=every)
    names, beginning = labels([[site.name for site in group] for group in groups])
    rows = [
        [
            name,
            group[0].role,
            shape(group[0].shape),
            _form(group[0]),
            size(sum(site.nbytes for site in group)),
            size(sum(site.file_bytes for site in group)),
            _worst_error(group),
            _reason(group[0]),
        ]
        for name, group in zip(names, groups, strict=True)
    ]
    if beginning:
        tell(f"names of sites, all behind {beginning!r}:")
    table(["site", "role", "shape", "form", ">before", ">after", ">rel. error", "in the file, or why not"], rows)
    if len(groups) < len(sites):
        tell(f"{len(sites)} sites, like ones in one row: bytes of all of them, and the largest error (--sites: each)")


def _form(site: SiteOutcome) -> str:
    return f"{site.form}, {site.detail}" if site.form else "left alone"


def _reason(site: SiteOutcome) -> str:
    return site.reason or (site.lowered.words if site.lowered else "")


def _worst_error(sites: Sequence[SiteOutcome]) -> str:
    errors = [site.error for site in sites if site.error is not None]
    return f"{max(errors):.2e}" if errors else ""
