"""What an experiment is: trainings and compressions, each with its setting, and the tables that their results make."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field

import dtc.models.reproduce.papers
from dtc import models
from dtc.document import DocumentPart
from dtc.errors import DataError
from dtc.graph import save_model
from dtc.models.reproduce.papers.pictures import Picture
from dtc.recipe import Recipe
from dtc.report.document import WeightsChange

Size = Literal["smallest", "small", "paper"]
"""smallest: seconds, to see that it works; small: ten minutes for all trials of a seed on two cores; paper: the
published setting."""

SIZES: tuple[Size, ...] = ("smallest", "small", "paper")

Begin: TypeAlias = Callable[[Path], Path]
"""Takes the folder of all trials and returns the model file that a trial begins with."""

Change: TypeAlias = Callable[[Path, Path], None]
"""Takes a model file and writes another one."""


@dataclass(frozen=True)
class PaperTrial:
    """One training or compression.

    Attributes:
        name: Of its files, and no other trial's of the experiment.
        begin: Where its model comes from.
        recipe: Everything that is done; without rules it is a training and nothing is compressed: a control.
        test: Data that nothing was chosen by, as `--data` names it.
        facts: What tells it from the others in a table, such as the interval and the seed.
        change: Makes the result by itself, where no recipe can; the recipe then says how it is judged.
        drawn: Names of the sites whose histograms and singular values the record keeps, for pictures.
    """

    name: str
    begin: Begin
    recipe: Recipe
    test: str
    facts: dict[str, Any] = field(default_factory=dict)
    change: Change | None = None
    drawn: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """The metric that it is judged by, which its recipe names."""
        assert self.recipe.objective.metric is not None, f"{self.name}: no metric"
        return self.recipe.objective.metric

    def trained_with(self, **settings: Any) -> PaperTrial:
        """Return the trial with other settings of its training, where it has one; None stands for its own."""
        if self.recipe.training is None:
            return self
        told = {name: value for name, value in settings.items() if value is not None}
        training = self.recipe.training.model_copy(update=told)
        return replace(self, recipe=self.recipe.model_copy(update={"training": training}))


class Iteration(DocumentPart):
    """One quantization of an iterative retraining: its relative squared error, and the metric before and after it."""

    step: int
    error: float
    trained: float
    quantized: float


class Course(DocumentPart):
    """The evaluations of a trial on held-out data; of one that was ended early, all that there is.

    Attributes:
        trial: Its name.
        facts: What it was told apart by.
        curve: Step and metric of each evaluation, of distorted weights.
        iterations: The quantizations of an iterative retraining.
    """

    trial: str
    facts: dict[str, Any]
    curve: tuple[tuple[int, float], ...] = ()
    iterations: tuple[Iteration, ...] = ()


class Record(Course):
    """The result of a trial.

    Attributes:
        created: When.
        versions: Of dtc, of what it ran on, and the machine.
        recipe: Everything that was set.
        metric: What `before` and `after` are, on the test data: of the model that it began with, and of the result.
        bytes: Sizes of both files; of weights that a method compressed, `site_bytes`, dense and stored.
        error: Relative squared error of all compressed weights together; None for a control.
        zeros: Share of the weights of all compressed sites that are zero; None for a control.
        seconds: Of training and distortion, as the run tells them; empty where nothing was trained.
        weights: What became of the weights of the sites that the trial names, for pictures.
    """

    created: str
    versions: dict[str, str]
    recipe: dict[str, Any]
    metric: str
    before: float
    after: float
    bytes: tuple[int, int]
    site_bytes: tuple[int, int] = (0, 0)
    error: float | None = None
    zeros: float | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    weights: dict[str, WeightsChange] = Field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A published experiment.

    Attributes:
        name: Of its command and its file of results.
        title: In words, for docs.
        paper: Authors, name, year, and which table or figure.
        about: What is done, and what the settings were chosen by; a paragraph for docs.
        trials: All trials of a size with so many seeds, in the order in which they are run.
        tables: Yields the lines of a Markdown table of those results that there are, the paper's figures beside ours.
        pictures: Yields the pictures of those results that there are.
        short: By setting, where the results that are kept fall short of the paper, and why.
    """

    name: str
    title: str
    paper: str
    about: str
    trials: Callable[[Size, int], Sequence[PaperTrial]]
    tables: Callable[[Sequence[Record]], Iterator[str]]
    pictures: Callable[[Sequence[Record]], Iterator[Picture]] = lambda _: iter(())
    short: Mapping[Size, str] = field(default_factory=dict)


@cache
def experiments() -> dict[str, Experiment]:
    """Return every experiment by name; an import error and a name taken twice are loud."""
    found: dict[str, Experiment] = {}
    for info in pkgutil.iter_modules(dtc.models.reproduce.papers.__path__):
        if info.name == "__main__":
            continue
        module = importlib.import_module(f"{dtc.models.reproduce.papers.__name__}.{info.name}")
        if (experiment := getattr(module, "EXPERIMENT", None)) is not None:
            if experiment.name in found:
                raise RuntimeError(f"two experiments are called {experiment.name!r}")
            found[experiment.name] = experiment
    return found


def built(model: str, **options: Any) -> Begin:
    """Begin with a reference model and its initial weights."""

    def begin(folder: Path) -> Path:
        told = "".join(f"-{name}-{value}" for name, value in options.items())
        path = folder / f"{model}{told}.initial.onnx"
        if not path.exists():
            save_model(models.build(model, **options), path)
        return path

    return begin


def stored(*parts: str) -> Begin:
    """Begin with a model of the data folder."""

    def begin(_: Path) -> Path:
        if "DTC_DATA" not in os.environ:
            raise DataError(f"DTC_DATA must name the folder that holds {'/'.join(parts)}")
        return Path(os.environ["DTC_DATA"]).joinpath(*parts)

    return begin


def result_of(trial: str) -> Begin:
    """Begin with what another trial, which is run before, has written."""
    return lambda folder: folder / f"{trial}.onnx"
