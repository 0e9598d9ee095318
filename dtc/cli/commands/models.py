"""`dtc models`: reference models, built and trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtc.cli.sections import Option, Section, SectionedCommand, option

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from dtc.models.train import TrainedReference


def _model_options() -> Iterator[Option]:
    """Yield the options of all reference models."""
    from dtc import models
    from dtc.cli.declared import declared

    fields: dict[str, tuple[FieldInfo, list[str]]] = {}
    # Options that several models share are declared once; those of some models only say so.
    for name, each in models.references().items():
        for key, field in each.options_type.model_fields.items():
            fields.setdefault(key, (field, []))[1].append(name)
    for key, (field, owners) in sorted(fields.items()):
        notes = () if len(owners) == len(models.names()) else (f"of {', '.join(owners)}",)
        yield declared(f"--model-{key.replace('_', '-')}", f"model_{key}", field, Section.MODEL, notes=notes)


def _training_options() -> Iterator[Option]:
    from dtc.cli.recipe_options import plan_options

    yield from _model_options()
    yield from plan_options()


def _given(options: dict[str, Any]) -> dict[str, Any]:
    prefix = "model_"
    return {k.removeprefix(prefix): v for k, v in options.items() if k.startswith(prefix) and v is not None}


@click.group("models")
def command() -> None:
    """Build or train the reference models."""


@command.command("list")
def list_models() -> None:
    """Show the reference models."""
    from dtc import models
    from dtc.cli.render import table

    table(["name", "what"], [[name, each.title] for name, each in sorted(models.references().items())])


@command.command("build", cls=SectionedCommand, further=_model_options)
@click.argument("name")
@option(Section.MODEL, "-o", "--output", type=click.Path(path_type=Path), help="default: NAME.onnx")
@option(Section.MODEL, "--force", is_flag=True, help="overwrite the output")
def build(name: str, *, output: Path | None, force: bool, **options: Any) -> None:
    """Write the reference model NAME with fresh weights."""
    from dtc import models
    from dtc.cli.render import tell
    from dtc.graph import save_model

    path = output or Path(f"{name}.onnx")
    save_model(models.build(name, **_given(options)), path, force=force)
    tell(f"written: {path}")


@command.command("train", cls=SectionedCommand, further=_training_options)
@click.argument("name", required=False)
@option(Section.MODEL, "-o", "--output", type=click.Path(path_type=Path), help="default: NAME.onnx")
@option(
    Section.TRAINING,
    "--run",
    type=click.Path(path_type=Path),
    help="run directory, to be resumed; default: a temporary one",
)
@option(
    Section.TRAINING,
    "--resume",
    "resumed",
    type=click.Path(path_type=Path),
    help="go on with an interrupted run directory; --engine, --device and --processes may be others",
)
@option(Section.DATA, "--allow-code", is_flag=True, help="run the Python functions that a run directory names as data")
@option(Section.MODEL, "--force", is_flag=True, help="overwrite the output")
def train(name: str | None, **options: Any) -> None:
    """Train the reference model NAME from fresh weights, by its own plan where no option says otherwise."""
    from dtc.cli.progress import progress
    from dtc.cli.resuming import refuse_what_a_run_has
    from dtc.models.train import resume_training

    output: Path | None = options["output"]
    with progress(quiet=False) as on_event:
        if options["resumed"] is not None:
            told = {name: options[name] for name in ("force", "allow_code", "engine", "device", "processes")}
            refuse_what_a_run_has({*told, "output"})
            result = resume_training(options["resumed"], output, **told, on_event=on_event)
        else:
            result = _start(name, output, options, on_event)
    _show(result)


def _start(name: str | None, output: Path | None, options: dict[str, Any], on_event: Any) -> TrainedReference:
    from dtc import models
    from dtc.cli.recipe_options import overridden
    from dtc.models.train import train_reference
    from dtc.scratch import scratch_folder

    if name is None:
        raise click.UsageError(f"name a model: {', '.join(models.names())}")
    plan = models.plan(name)
    assert plan.training is not None, "a reference model has a training plan"
    recipe = overridden(
        plan.model_copy(
            update={
                "objective": overridden(plan.objective, options),
                "data": overridden(plan.data, options),
                "training": overridden(plan.training, options),
            }
        ),
        options,
    )
    model = models.build(name, **_given(options))
    path = output or Path(f"{name}.onnx")
    if options["run"] is not None:
        return train_reference(model, recipe, path, options["run"], force=options["force"], on_event=on_event)
    # The result is written to `path` before the folder goes.
    with scratch_folder() as folder:
        return train_reference(model, recipe, path, folder / "run", force=options["force"], on_event=on_event)


def _show(result: TrainedReference) -> None:
    from dtc.cli.render import tell

    score = result.training.score
    value = "" if score.value is None else f", {score.metric} {score.value:.6g}"
    words = f"step {result.training.best_step}: loss {score.loss:.4f}{value} on {score.samples}"
    tell(f"written: {result.output} ({words})")
