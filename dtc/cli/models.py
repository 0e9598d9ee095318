"""`dtc models`: reference models, built and trained."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dtc import models
from dtc.cli.declared import option
from dtc.cli.progress import progress
from dtc.cli.recipe_options import overridden, plan_options
from dtc.cli.render import console, table
from dtc.graph import save_model
from dtc.models.train import Trained, resume_training, train_reference

Command = TypeVar("Command", bound=Callable[..., Any])


def _model_options(command: Command) -> Command:
    """Add the options of all reference models."""
    fields: dict[str, tuple[Any, list[str]]] = {}
    for name, each in models.references().items():
        for key, field in each.options_type.model_fields.items():
            fields.setdefault(key, (field, []))[1].append(name)
    for key, (field, owners) in sorted(fields.items(), reverse=True):
        note = "" if len(owners) == len(models.names()) else f"[{', '.join(owners)}]"
        command = option(f"--model-{key.replace('_', '-')}", f"model_{key}", field, note=note)(command)
    return command


def _given(options: dict[str, Any]) -> dict[str, Any]:
    prefix = "model_"
    return {k.removeprefix(prefix): v for k, v in options.items() if k.startswith(prefix) and v is not None}


@click.group("models")
def command() -> None:
    """Build or train the reference models."""


@command.command("list")
def list_models() -> None:
    """Show the reference models."""
    table(["name", "what"], [[name, each.title] for name, each in sorted(models.references().items())])


@command.command("build")
@click.argument("name")
@_model_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="default: NAME.onnx")
@click.option("--force", is_flag=True, help="overwrite the output")
def build(name: str, *, output: Path | None, force: bool, **options: Any) -> None:
    """Write the reference model NAME with fresh weights."""
    path = output or Path(f"{name}.onnx")
    save_model(models.build(name, **_given(options)), path, force=force)
    console.print(f"written: {path}")


@command.command("train")
@click.argument("name", required=False)
@_model_options
@plan_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="default: NAME.onnx")
@click.option("--run", type=click.Path(path_type=Path), help="run directory, to be resumed; default: a temporary one")
@click.option("--resume", "resumed", type=click.Path(path_type=Path), help="go on with an interrupted run directory")
@click.option("--force", is_flag=True, help="overwrite the output")
def train(name: str | None, **options: Any) -> None:
    """Train the reference model NAME from fresh weights, by its own plan where no option says otherwise."""
    output: Path | None = options["output"]
    with progress(quiet=False) as on_event:
        if options["resumed"] is not None:
            result = resume_training(options["resumed"], output, force=options["force"], on_event=on_event)
        else:
            result = _start(name, output, options, on_event)
    _show(result)


def _start(name: str | None, output: Path | None, options: dict[str, Any], on_event: Any) -> Trained:
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
    with tempfile.TemporaryDirectory(prefix="dtc-") as folder:
        return train_reference(model, recipe, path, Path(folder) / "run", force=options["force"], on_event=on_event)


def _show(result: Trained) -> None:
    score = result.training.score
    value = "" if score.value is None else f", {score.metric} {score.value:.6g}"
    console.print(f"written: {result.output} (step {result.training.best_step}: loss {score.loss:.4f}{value})")
