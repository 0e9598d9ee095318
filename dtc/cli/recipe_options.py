"""Command-line options of the parts of a recipe: its objective, data and training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dtc.cli.declared import declared
from dtc.cli.parse import pairs
from dtc.cli.sections import Option, Section
from dtc.errors import UsageError
from dtc.recipe import Activations, Data, Lean, Objective, Optimizer, Recipe, Schedule, Training, flags_of

PartT = TypeVar("PartT", bound=BaseModel)

_SECTIONS: dict[type[BaseModel], Section] = {
    Data: Section.DATA,
    Objective: Section.OBJECTIVE,
    Activations: Section.ACTIVATIONS,
    Lean: Section.LEAN,
    Training: Section.TRAINING,
    Optimizer: Section.OPTIMIZER,
    Schedule: Section.OPTIMIZER,
    Recipe: Section.LOWERING,
}
"""Where the options of each part stand in the help."""

SEARCH_HELD_OUT = 0.3
"""Share of the samples that a search holds out unless told otherwise: half to decide by, half for its promise."""


def recipe_options() -> Iterator[Option]:
    """Yield the options of all parts of a recipe."""
    return _options(*_SECTIONS)


def plan_options() -> Iterator[Option]:
    """Yield the options of the parts of a recipe that trains a reference model and compresses nothing."""
    return _options(*(part for part in _SECTIONS if part not in (Activations, Lean)))


def search_options() -> Iterator[Option]:
    """Yield the options of the parts of a recipe that a search takes: all but those of activations.

    How long is retrained a search is told by an option of its own.
    """
    own = {flags_of(Training)[name].parameter for name in ("epochs", "steps")}
    parts = _options(Data, Objective, Lean, Recipe, Training, Optimizer, Schedule, held_out=SEARCH_HELD_OUT)
    return (each for each in parts if each.name not in own)


def objective_and_data_options() -> Iterator[Option]:
    """Yield the options of the parts `Data` and `Objective`: what is measured, and on which data."""
    return _options(Data, Objective)


def _options(*parts: type[BaseModel], **defaults: Any) -> Iterator[Option]:
    """Yield the options of parts of a recipe; the help of some tells another default than the recipe's."""
    for part in parts:
        for name, flag in flags_of(part).items():
            field = copy(part.model_fields[name])
            field.default = defaults.get(name, field.default)
            yield declared(flag.text, flag.parameter, field, _SECTIONS[part])


def overridden(base: PartT, options: Mapping[str, Any]) -> PartT:
    """Return a copy of `base` in which the options given on the command line replace the fields they set.

    Raises:
        UsageError: A value is refused; the message names the option.
    """
    flags = flags_of(type(base))
    given: dict[str, Any] = {}
    for name, flag in flags.items():
        value = options.get(flag.parameter)
        # Not given: what the recipe has stays, and is not overwritten by a default.
        if value is None or value == ():
            continue
        given[name] = pairs(value, flag.text) if isinstance(getattr(base, name), dict) else value
    # Parts within a part: optimizer and schedule have options of their own.
    if isinstance(base, Training):
        given["optimizer"] = overridden(base.optimizer, options)
        given["schedule"] = overridden(base.schedule, options)
    try:
        # Validated as a whole, not copied: bounds between fields hold for what the line and the file say together.
        return type(base).model_validate({name: getattr(base, name) for name in type(base).model_fields} | given)
    except ValidationError as error:
        # The first error only. Without a place it is about the whole part; else the place is a field, and the user
        # knows it by its flag.
        first = error.errors()[0]
        message = str(first["msg"]).removeprefix("Value error, ")
        if not first["loc"]:
            raise UsageError(message) from error
        name = str(first["loc"][0])
        told = flags[name].text if name in flags else name
        raise UsageError(f"{told}: {message} (given: {first['input']!r})") from error


def training_flags(options: Mapping[str, Any]) -> list[str]:
    """Return the flags of the training that were given."""
    flags = [flag for part in (Training, Optimizer, Schedule) for flag in flags_of(part).values()]
    flags.append(flags_of(Activations)["delta"])
    return [flag.text for flag in flags if options.get(flag.parameter) not in (None, ())]
