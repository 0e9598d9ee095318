"""The description that an engine gives of itself, and the search for installed engines.

An engine is a folder of `dtc.training.engines`, or a module that another distribution names in the entry point group of
that name. It offers one object, `ENGINE`; importing it must be cheap, because that is done to list the engines. The
engine itself (`dtc.training.engine`) is made by a factory that only the worker process imports.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TypeAlias, cast

import onnx_ir as ir

import dtc.training.engines
from dtc.errors import RecipeError, UsageError
from dtc.recipe import Recipe, Training
from dtc.registry import collect
from dtc.training.command import Command, python_command
from dtc.training.engine import Engine
from dtc.training.engine_settings import EngineSettings

WORKER = "dtc.training"
"""The module that a worker process runs, whatever its engine."""

MakeEngine: TypeAlias = Callable[[ir.Model, EngineSettings, ir.Model | None], Engine]
"""Makes an engine for a model to train, its settings, and the model that distillation learns from: None for the model
itself."""


@dataclass(frozen=True)
class EngineKind:
    """An engine that can be chosen.

    Attributes:
        name: What `--engine` and a recipe call it.
        title: What it is, with its version; a report says that a model was trained by it.
        device: What it computes on, in words.
        devices: The kinds of devices that it can compute on, as `--device` names them.
        precisions: In which it can.
        losses: Those that it has a gradient of, as `--loss` names them.
        parallel: Several processes can share each batch.
        control_flow: It has gradients through the bodies of `If`, `Loop` and `Scan`.
        factory: Its `MakeEngine`, as `module:function`; imported in the worker alone.
        unavailable: Returns why it cannot run on this machine, in one line with what to do; None if it can.
        installed: Returns where it lies, None if it has to be installed first.
        install: Installs it unless that is done, and returns the folders that come first on the worker's `sys.path`:
            none where it shares the environment of dtc. Raises EngineError.
        remove_damaged: Verifies what lies there, removes it where it is damaged, and returns what was wrong, in one
            line; None if nothing was.
        preference: Of the engines that can run here, the one with the highest is taken where none is named.
    """

    name: str
    title: str
    device: str
    factory: str
    unavailable: Callable[[], str | None]
    installed: Callable[[], Path | None]
    install: Callable[[], Sequence[Path]]
    remove_damaged: Callable[[], str | None] = lambda: None
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[str, ...] = ("float32",)
    losses: tuple[str, ...] = ("cross-entropy", "mse", "bce", "distill")
    parallel: bool = False
    control_flow: bool = False
    preference: int = 0

    def refuse(self, recipe: Recipe) -> str | None:
        """Return in one line why it is not the engine for what a recipe asks for; None if it is."""
        training, objective = recipe.training or Training(), recipe.objective
        # What else `auto` will be is told by the data, and every engine has it.
        loss = "ctc" if objective.loss == "auto" and objective.of_sequences else objective.loss
        if loss not in ("auto", *self.losses):
            return f"--loss {loss}: the engine {self.name} has no such loss; {_other_engines(loss)}"
        kind = training.device.partition(":")[0]
        if kind not in self.devices:
            return f"--device {training.device}: the engine {self.name} computes on {_listed(self.devices)} alone"
        if training.precision not in self.precisions:
            return (
                f"--precision {training.precision}: the engine {self.name} computes in {_listed(self.precisions)} alone"
            )
        if training.processes > 1 and not self.parallel:
            return f"--processes {training.processes}: the engine {self.name} trains in one process"
        return None

    def command(self) -> Command:
        """Return the command that starts a worker with this engine; the engine is installed first if necessary.

        Raises:
            EngineError: The engine cannot be installed or cannot run on this machine.
        """
        return python_command(WORKER, first_on_path=list(self.install()))

    def load(self) -> MakeEngine:
        """Import and return the factory; only the worker process calls this."""
        module, _, function = self.factory.partition(":")
        return cast("MakeEngine", getattr(importlib.import_module(module), function))


@cache
def engines() -> dict[str, EngineKind]:
    """Return every engine by name; a name taken twice and an import error are loud."""
    return collect(dtc.training.engines, _offered, "engines")


def _offered(module: ModuleType) -> Iterator[tuple[str, EngineKind]]:
    kind = getattr(module, "ENGINE", None)
    if isinstance(kind, EngineKind):
        yield kind.name, kind


def find_engine(name: str) -> EngineKind:
    """Return the engine called `name`.

    Raises:
        UsageError: No engine has this name; the message lists the names that exist.
    """
    if name not in engines():
        raise UsageError(f"no engine is called {name!r}; there are: {', '.join(sorted(engines()))}")
    return engines()[name]


def ranked_engines() -> list[EngineKind]:
    """Return all engines, the preferred one first; names decide between equals, the same way on every machine."""
    return sorted(engines().values(), key=lambda kind: (-kind.preference, kind.name))


def default_engine(recipe: Recipe | None = None) -> EngineKind:
    """Return the preferred engine of those that can run on this machine, and do what the recipe asks of them.

    Where no engine can, the preferred one of those that do what is asked, or of all, is returned: its `unavailable`, or
    its `refuse`, says why.
    """
    ranked = ranked_engines()
    able = [kind for kind in ranked if kind.refuse(recipe or Recipe()) is None]
    return next((kind for kind in able if kind.unavailable() is None), (able or ranked)[0])


def engine_title(recipe: Recipe) -> str:
    """Return the title of the engine of a recipe, or the engine's name where this machine does not know the engine.

    Another device than the CPU, another precision than float32, and more than one process are told with it.
    """
    training = recipe.training or Training()
    kind = default_engine(recipe) if training.engine is None else engines().get(training.engine)
    usual = Training()
    told = [getattr(training, n) for n in ("device", "precision") if getattr(training, n) != getattr(usual, n)]
    told += [f"{training.processes} processes"] if training.processes > 1 else []
    return ", ".join([str(training.engine) if kind is None else kind.title, *told])


def engine_of(recipe: Recipe) -> EngineKind:
    """Return the engine that a recipe names, the default one where it names none.

    Raises:
        RecipeError: There is no such engine, and the recipe was read from a file; the message names the line.
        UsageError: Likewise, without a file; or the engine has not the device or the precision.
    """
    training = recipe.training or Training()
    name = training.engine
    try:
        kind = default_engine(recipe) if name is None else find_engine(name)
    except UsageError as error:
        place = recipe.place(("training", "engine"))
        if place is None:
            raise UsageError(f"--engine: {error}") from error
        raise RecipeError(f"{place}: training.engine: {error}") from error
    if reason := kind.refuse(recipe):
        raise UsageError(reason)
    return kind


def _other_engines(loss: str) -> str:
    """Return in words which engine has a loss, and what to do for it to run here."""
    able = [kind for kind in ranked_engines() if loss in kind.losses]
    if not able:
        return "nor has any other"
    todo = able[0].unavailable()
    return f"take --engine {able[0].name}" + (f": {todo}" if todo else "")


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
