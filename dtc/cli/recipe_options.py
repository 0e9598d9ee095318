"""Command-line options of the parts of a recipe: its objective, data and training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dtc.cli.declared import option
from dtc.cli.parse import pairs
from dtc.errors import UsageError
from dtc.recipe import Activations, Data, Objective, Optimizer, Recipe, Schedule, Training

Command = TypeVar("Command", bound=Callable[..., Any])
PartT = TypeVar("PartT", bound=BaseModel)

_FLAGS: dict[type[BaseModel], dict[str, str]] = {
    Data: {
        "data": "train",
        "eval-data": "evaluate",
        "batch-size": "batch_size",
        "held-out": "held_out",
    },
    Objective: {
        "loss": "loss",
        "loss-output": "output",
        "labels": "labels",
        "metric": "metric",
        "carry": "carry",
        "lengths": "lengths",
    },
    Activations: {"activation-bits": "bits", "activation-delta": "delta"},
    Training: {
        "epochs": "epochs",
        "steps": "steps",
        "mode": "mode",
        "iteration-epochs": "iteration_epochs",
        "patience": "patience",
        "distort-every": "distort_every",
        "evaluate-every": "evaluate_every",
        "checkpoint-every": "checkpoint_every",
        "freeze": "freeze",
        "engine": "engine",
        "threads": "threads",
    },
    Optimizer: {
        "optimizer": "kind",
        "lr": "learning_rate",
        "momentum": "momentum",
        "weight-decay": "weight_decay",
        "clip-norm": "clip_norm",
    },
    Schedule: {
        "schedule": "kind",
        "lr-factor": "factor",
        "lr-every": "every",
        "lr-after": "after",
    },
    Recipe: {
        "batch-norm": "batch_norm",
        "lower": "lower",
        "costs": "costs",
        "accuracy-level": "accuracy_level",
        "seed": "seed",
    },
}
"""Flag to field, for each part."""


def recipe_options(command: Command) -> Command:
    """Add the options of all parts of a recipe to a click command."""
    return _add(command, *_FLAGS)


def plan_options(command: Command) -> Command:
    """Add the options of the parts of a recipe that trains a reference model and compresses nothing."""
    return _add(command, *(kind for kind in _FLAGS if kind is not Activations))


def objective_and_data_options(command: Command) -> Command:
    """Add the options that say what is measured, and on what."""
    return _add(command, Data, Objective)


def _add(command: Command, *kinds: type[BaseModel]) -> Command:
    for kind in reversed(kinds):
        for flag, name in reversed(_FLAGS[kind].items()):
            command = option(f"--{flag}", _parameter(flag), kind.model_fields[name])(command)
    return command


def overridden(base: PartT, options: Mapping[str, Any]) -> PartT:
    """Return `base` with what the command line gave in its place.

    Raises:
        UsageError: A value is refused; the message names the option.
    """
    flags = _FLAGS[type(base)]
    given: dict[str, Any] = {}
    for flag, name in flags.items():
        value = options[_parameter(flag)]
        if value is None or value == ():
            continue
        given[name] = pairs(value, f"--{flag}") if name == "carry" else value
    if isinstance(base, Training):
        given["optimizer"] = overridden(base.optimizer, options)
        given["schedule"] = overridden(base.schedule, options)
    try:
        return type(base).model_validate({name: getattr(base, name) for name in type(base).model_fields} | given)
    except ValidationError as error:
        first = error.errors()[0]
        message = str(first["msg"]).removeprefix("Value error, ")
        if not first["loc"]:
            raise UsageError(message) from error
        flag = next((flag for flag, name in flags.items() if name == first["loc"][0]), str(first["loc"][0]))
        raise UsageError(f"--{flag}: {message} (given: {first['input']!r})") from error


def training_flags(options: Mapping[str, Any]) -> list[str]:
    """Return the flags of the training that were given."""
    flags = [flag for kind in (Training, Optimizer, Schedule) for flag in _FLAGS[kind]] + ["activation-delta"]
    return [f"--{flag}" for flag in flags if options[_parameter(flag)] not in (None, ())]


def _parameter(flag: str) -> str:
    return flag.replace("-", "_")
