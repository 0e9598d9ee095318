"""The class of reference models, and the search for all reference models of this folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import onnx_ir as ir
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import dtc.models
from dtc.errors import UsageError
from dtc.recipe import Recipe


class ModelOptions(BaseModel):
    """Options of a reference model, declared once for validation and for the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, lt=2**32, description="seed of the initial weights")


@dataclass(frozen=True)
class Reference:
    """A reference model: its name, how it is built, and how it is trained from its initial weights.

    A module of this folder offers its models in a tuple called `REFERENCES`; nothing else registers a model.
    """

    name: str
    title: str
    options_type: type[ModelOptions]
    builder: Callable[[Any], ir.Model]
    plan: Recipe


@cache
def references() -> dict[str, Reference]:
    """Return every reference model by name; a name taken twice and an import error are loud."""
    found: dict[str, Reference] = {}
    for info in pkgutil.iter_modules(dtc.models.__path__):
        module = importlib.import_module(f"dtc.models.{info.name}")
        for reference in getattr(module, "REFERENCES", ()):
            if reference.name in found:
                raise RuntimeError(f"two reference models are called {reference.name!r}")
            found[reference.name] = reference
    return found


def names() -> list[str]:
    """Return the names of all reference models, sorted."""
    return sorted(references())


def reference(name: str) -> Reference:
    """Return the reference model of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in references():
        raise UsageError(f"no reference model is called {name!r}; there are: {', '.join(names())}")
    return references()[name]


def build(name: str, **options: Any) -> ir.Model:
    """Return a reference model with seeded initial weights, IR 10, opset 17.

    Raises:
        UsageError: No such model, or an option that it does not have or whose value it refuses.
    """
    chosen = reference(name)
    try:
        return chosen.builder(chosen.options_type.model_validate(options))
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "options"
        raise UsageError(f"model {name}, {option}: {first['msg']} (given: {first['input']!r})") from error


def plan(name: str) -> Recipe:
    """Return how a reference model is trained: objective, data and training, without rules.

    Raises:
        UsageError: No such model.
    """
    return reference(name).plan
