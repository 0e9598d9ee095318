"""`dtc deploy`: a folder that runs as it is on a target, and running it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtc.cli.sections import Section, SectionedCommand, option
from dtc.cli.shared_options import json_for_tables, seconds
from dtc.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    from dtc.bundles import BundleDescription
    from dtc.bundles.document import BundleCheck, CheckedBundle, RunOutcome


@click.command("deploy", cls=SectionedCommand)
@click.argument("model", type=click.Path(path_type=Path), required=False)
@option(Section.MODEL, "--target", metavar="NAME", help="what the bundle is for; --targets lists them")
@option(Section.MODEL, "--targets", "listed", is_flag=True, help="list the targets, and end")
@option(Section.MODEL, "-o", "--output", type=click.Path(path_type=Path), help="folder to write")
@option(Section.MODEL, "--force", is_flag=True, help="replace a bundle that is there")
@option(
    Section.MODEL,
    "--input",
    "inputs",
    multiple=True,
    help="NAME=VALUE: an input to fix; what it decides is folded into the model (repeatable)",
)
@option(
    Section.MODEL,
    "--one-size",
    is_flag=True,
    help="take inputs of one size alone: 1 where it counts samples, else the smallest that the model accepts; what "
    "sizes decide is folded into the model",
)
@option(
    Section.MODEL,
    "--shape",
    "shapes",
    multiple=True,
    help="NAME=2,576: the shape of an input in the test vectors, and the one size, where inputs have one (repeatable)",
)
@option(
    Section.MODEL,
    "--reference",
    type=click.Path(path_type=Path),
    help="the model that MODEL was compressed from, to tell in deploy.json how far its outputs are",
)
@option(Section.MODEL, "--processor", help="what a native library is for: x86-64, aarch64; default: this machine's")
@option(
    Section.MODEL,
    "--library",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="native library for the processor; else the one that dtc came with, or one built by a cross-compiler",
)
@option(
    Section.MODEL,
    "--custom-ops",
    multiple=True,
    type=click.Path(path_type=Path),
    help="library of custom operators that the model needs to run, which goes into the bundle (repeatable)",
)
@option(
    Section.MODEL,
    "--ort",
    is_flag=True,
    help="write model.ort too, for builds of ONNX Runtime that read no other format; refused where that format would "
    "hold weights as they are decoded",
)
@option(
    Section.CHECKING,
    "--check",
    "checked",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="build and run this bundle in place of writing one, in all ways that this machine can",
)
@option(
    Section.CHECKING,
    "--beside",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="another bundle, the original's, to measure in turns with it; of the same target, or web beside wasm",
)
@seconds
@json_for_tables
def command(model: Path | None, **options: Any) -> None:
    """Make a folder that runs a model on a target, or check one.

    The folder holds the model, programs that run it, test vectors, and deploy.json, which tells sizes, hashes, errors
    and what ran where.

    \b
    dtc deploy model.onnx --target onnxruntime -o bundle
    dtc deploy --check bundle
    """  # noqa: D301 - the backspace keeps click from joining the lines
    if options["listed"]:
        _show_targets()
    elif options["checked"] is not None:
        _check(model, options)
    else:
        _write(model, options)


def _show_targets() -> None:
    from dtc.cli.render import table
    from dtc.deploy.target import deploy_targets

    table(["target", "what"], [[name, target.title] for name, target in sorted(deploy_targets().items())])


def _write(model: Path | None, options: dict[str, Any]) -> None:
    from dtc.bundles import DeployOptions, deploy
    from dtc.cli.parse import fixed_inputs, shapes_of

    if model is None or options["target"] is None or options["output"] is None:
        raise UsageError("say what to deploy, for what and where: dtc deploy MODEL --target NAME -o FOLDER")
    if options["beside"] is not None:
        raise UsageError("--beside: goes with --check FOLDER")
    told = DeployOptions(
        force=options["force"],
        fixed=fixed_inputs(options["inputs"]),
        reference=options["reference"],
        processor=options["processor"],
        library=options["library"],
        custom_ops=options["custom_ops"],
        ort=options["ort"],
        one_size=options["one_size"],
        shapes=shapes_of(options["shapes"]),
    )
    description = deploy(model, options["target"], options["output"], told)
    if options["as_json"]:
        click.echo(description.to_json(indent=2))
    else:
        _show_written(description, options["output"])


def _check(model: Path | None, options: dict[str, Any]) -> None:
    from dtc.bundles import check_bundle

    if model is not None or options["target"] is not None or options["output"] is not None:
        raise UsageError("--check FOLDER: takes a bundle that is there; leave MODEL, --target and --output away")
    found = check_bundle(options["checked"], beside=options["beside"], seconds=options["seconds"])
    if options["as_json"]:
        click.echo(found.to_json(indent=2))
    else:
        _show_check(found)
    if found.failures:
        raise CheckFailedError(f"{options['checked']}: {'; '.join(found.failures)}")


def _show_written(description: BundleDescription, folder: Path) -> None:
    from dtc.cli.render import size, tell

    for note in description.notes:
        tell(note)
    worst = max(description.error.values(), default=0.0)
    tell(f"the bundle's model against {description.source.name}: at most {worst:.1e} relative L2")
    if description.reference is not None:
        far = max(description.from_reference.values(), default=0.0)
        tell(f"{description.source.name} against {description.reference.name}: at most {far:.3g} relative L2")
    tell(f"{len(description.files)} files, {size(description.nbytes)} ({size(description.gzip)} by gzip)")
    tell(f"written: {folder}; next: dtc deploy --check {shlex.quote(str(folder))}")


def _show_check(found: BundleCheck) -> None:
    from dtc.cli.render import table, tell

    table(["bundle", ">model", ">gzip", ">whole", ">gzip"], [_sizes(each) for each in _bundles(found)])
    rows = [
        row for name in _ways(found) for each in _bundles(found) if (row := _outcome(name, each, found)) is not None
    ]
    table(["ran in", "bundle", "outcome", ">rel. L2", ">load", ">latency", ">memory", ">speed-up", "runtime"], rows)
    for each in _bundles(found):
        for run in each.runs:
            if run.reason:
                word = "not run" if run.outcome == "missing" else run.outcome
                tell(f"{each.folder}: {run.name} {word}: {run.reason}")
    for note in found.notes:
        tell(note)


def _bundles(found: BundleCheck) -> list[CheckedBundle]:
    return [found.bundle] if found.beside is None else [found.bundle, found.beside]


def _ways(found: BundleCheck) -> list[str]:
    return list(dict.fromkeys(run.name for each in _bundles(found) for run in each.runs))


def _sizes(each: CheckedBundle) -> list[str]:
    from dtc.cli.render import size

    return [each.folder, *map(size, (each.model_bytes, each.model_gzip, each.bundle_bytes, each.bundle_gzip))]


def _outcome(name: str, bundle: CheckedBundle, found: BundleCheck) -> list[str] | None:
    """Return the row of one way in one bundle; None where the bundle has none, or it could not be run."""
    from dtc.cli.render import milliseconds, size

    run = _run_of(bundle, name)
    if run is None or run.found is None:
        return None
    told = run.found
    other = None if found.beside is None or bundle is found.beside else _run_of(found.beside, name)
    before = None if other is None or other.found is None else other.found.latency
    return [
        name,
        bundle.folder,
        run.outcome,
        f"{told.relative_l2:.1e}",
        "" if told.load is None else milliseconds(told.load),
        "" if told.latency is None else milliseconds(told.latency),
        "" if told.memory is None else size(told.memory),
        "" if before is None or not told.latency else f"{before / told.latency:.2f}x",
        told.runtime,
    ]


def _run_of(bundle: CheckedBundle, name: str) -> RunOutcome | None:
    return next((run for run in bundle.runs if run.name == name), None)
