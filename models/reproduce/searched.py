"""`dtc search` beside the best single method and rate: `python -m dtc.models.reproduce.searched`.

The search decides by one part of the samples to judge on and keeps its promise on the rest: of 6,000 test images, of
20,000 words of the test text, of 512 frames of speech in 32 streams, without labels there. The other files are those
with one candidate at all sites that it makes smaller, of which the smallest is taken that the search holds for good.
Beside them stand what a user would pick instead: the files of ONNX Runtime's own quantizers, and where `--nncf` and
`--aimet` name interpreters that have them, the precisions that NNCF and AIMET choose within the same limit. All are
measured on what none has seen: the other images, words and frames. The folder keeps what was evaluated: an interrupted
run goes on where it was. LeNet-5 is trained first, in 2,000 steps.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import click

from dtc import models
from dtc.checking.measurements import machine
from dtc.cores import cores
from dtc.job import Job
from dtc.models.reproduce.baselines import QUANTIZERS
from dtc.models.reproduce.comparison import SCHEMA, SMALLER, ComparedFile, ComparedModel, Way
from dtc.models.reproduce.one_shot import CASES, Benchmark
from dtc.models.reproduce.other_tools import AIMET, NNCF, OtherTool
from dtc.models.reproduce.samples import IMAGE_BATCH
from dtc.models.reproduce.unseen import Judged, Unseen
from dtc.models.train import train_reference
from dtc.pipeline import compress
from dtc.recipe import Data, Objective, Recipe, Rule
from dtc.report.provenance import provenance
from dtc.search import Found, Goal, Request, search

_LENET_STEPS = 2000


@dataclass(frozen=True)
class SearchedModel:
    """A model, what the search may lose, and the data that nothing has seen."""

    case: Benchmark
    goal: Goal
    rest: str

    def recipe(self) -> Recipe:
        """Return everything but rules; statistics stay as they are, as `dtc search` leaves them."""
        data = Data(train=self.case.samples, evaluate=self.case.test, batch_size=IMAGE_BATCH)
        return Recipe(objective=self.case.objective, data=data, batch_norm="frozen")

    def within(self, folder: Path) -> SearchedModel:
        """Return the model with its file, which is trained in a folder where the data folder has none."""
        if self.case.folder:
            return self
        case = replace(self.case, folder=str(folder.absolute()))
        if not case.path.exists():
            plan = models.plan(case.name)
            assert plan.training is not None, "a reference model has a training plan"
            training = plan.training.model_copy(update={"steps": _LENET_STEPS})
            recipe = plan.model_copy(update={"training": training})
            train_reference(models.build(case.name), recipe, case.path, folder / f"{case.name}.dtc-run")
        return replace(self, case=case)


Tools: TypeAlias = Mapping[OtherTool, Path]
"""Other tools, each with the interpreter that has it."""

_SAMPLES = "dtc.models.reproduce.samples"
_POINT = Goal(max_drop=0.01)


def _searched(
    name: str, file: str, samples: str, objective: Objective | None = None, *, folder: str = "onnx"
) -> SearchedModel:
    """Return a model whose samples are functions of one name: to learn from, searched by, and unsearched."""
    learnt, test, rest = (f"{_SAMPLES}:{part}{samples}" for part in ("", "searched_", "unsearched_"))
    objective = objective or Objective(metric="accuracy")
    return SearchedModel(Benchmark(name, file, learnt, test, objective, folder), _POINT, rest)


MODELS = {
    "resnet-20": _searched("resnet-20", "resnet20_cifar10_derived.onnx", "images"),
    "resnet-56": _searched("resnet-56", "resnet56_cifar10_derived.onnx", "images"),
    "mobilenetv2": _searched("mobilenetv2", "mobilenetv2_cifar10.onnx", "photos", folder="trained"),
    "ptb": SearchedModel(CASES["ptb"], Goal(max_drop=0.01, relative=True), f"{_SAMPLES}:rest_text"),
    "lenet-5": _searched("lenet-5", "lenet-5.onnx", "digits", folder=""),
    "vad": _searched(
        "vad", "silero_vad_16k_op15.onnx", "speech", Objective(metric="accuracy", carry={"stateN": "state"})
    ),
}


@click.command()
@click.option("--model", "chosen", multiple=True, type=click.Choice(list(MODELS)), help="default: all")
@click.option("--methods", default="", help="methods to try, with commas; default: as dtc search")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("searched"), show_default=True)
@click.option("--seconds", type=float, default=1200.0, show_default=True, help="of each search")
@click.option("--nncf", type=click.Path(path_type=Path), help="a Python interpreter that has NNCF")
@click.option("--aimet", type=click.Path(path_type=Path), help="a Python interpreter that has AIMET")
@click.option("--others-alone", is_flag=True, help="search nothing: measure the files of other tools alone")
@click.option("--results", type=click.Path(path_type=Path), help="also write a results file a model into this folder")
def main(
    chosen: tuple[str, ...],
    methods: str,
    folder: Path,
    seconds: float,
    nncf: Path | None,
    aimet: Path | None,
    results: Path | None,
    *,
    others_alone: bool,
) -> None:
    """Search models and print the files beside those that a user would pick instead."""
    folder.mkdir(parents=True, exist_ok=True)
    tools = {tool: path for tool, path in ((NNCF, nncf), (AIMET, aimet)) if path is not None}
    click.echo(f"{machine()}, ONNX Runtime {version('onnxruntime')}, Python {platform.python_version()}")
    for name in chosen or MODELS:
        model = MODELS[name].within(folder)
        found: list[_File] = []
        notes: tuple[str, ...] = ()
        if not others_alone:
            found, notes = _searched_files(name, model, tuple(filter(None, methods.split(","))), folder, seconds)
        files = [_File("the model", model.case.path), *found, *_files_of_others(name, model, folder, tools)]
        unseen = Unseen(model.case.path, model.rest, model.case.objective, relative=model.goal.relative)
        judged = [(file, unseen.judge(file.path)) for file in files]
        click.echo("\n".join(_lines(model, judged)))
        if results is not None:
            told = ("others", " --others-alone") if others_alone else ("searched", "")
            click.echo(_compared(name, model, judged, told[1], notes).write(results, told[0]))


@dataclass(frozen=True)
class _File:
    """A file, what it was made by, and how; the model itself was made by nothing."""

    words: str
    path: Path
    way: Way | None = None


def _searched_files(
    name: str, model: SearchedModel, methods: tuple[str, ...], folder: Path, limit: float
) -> tuple[list[_File], tuple[str, ...]]:
    """Search a model, and return what was found, the best file with a single method and rate, and what to note."""
    output, place = folder / f"{name}.searched.onnx", folder / f"{name}.dtc-search"
    fresh, began, busy = not place.exists(), time.monotonic(), _processor_seconds()
    request = Request(model.goal, Job(output, force=True, seconds=0.0), methods, folder=place, seconds=limit)
    found = search(model.case.path, model.recipe(), request)
    seconds, busy = time.monotonic() - began, _processor_seconds() - busy
    click.echo(f"\n{name}: {found.report.loss}; searched in {seconds:.0f} s; {found.report.chosen.words}\n")
    drop, error = model.goal.loss_words(found.report.unseen_drop), model.goal.error_words(found.report.unseen_error)
    notes = [f"On the samples by which the search kept its promise the file loses {drop}, standard error {error}."]
    if fresh:
        notes.append(f"The search took {seconds:,.0f} s, {busy:,.0f} s of processor time, on up to {cores()} cores.")
    by_hand = _by_hand(model, found, folder / f"{name}-single.onnx")
    files = [_File("search", output, "dtc search"), *(_File(words, path, "one-shot") for words, path in by_hand)]
    return files, tuple(notes)


def _processor_seconds() -> float:
    """Return what this process and those that it started and has seen end have taken."""
    return sum(os.times()[:4])


def _files_of_others(name: str, model: SearchedModel, folder: Path, tools: Tools) -> list[_File]:
    """Return what a user would pick instead."""
    others = folder / f"{name}-others"
    others.mkdir(exist_ok=True)
    found = [*_by_others(model, others), *_by_tools(model, others, tools)]
    return [_File(words, path, "other quantizers") for words, path in found]


def _lines(model: SearchedModel, files: Sequence[tuple[_File, Judged]]) -> Iterator[str]:
    original = model.case.path.stat().st_size
    yield f"| file | bytes | ratio | {model.case.objective.metric} | loses | standard error |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for file, judged in files:
        size = file.path.stat().st_size
        lost = f"{model.goal.loss_words(judged.drop)} | {model.goal.error_words(judged.error)}"
        yield f"| {file.words} | {size:,} | {original / size:.2f} | {judged.value:.4f} | {lost} |"


def _compared(
    name: str, model: SearchedModel, files: Sequence[tuple[_File, Judged]], options: str, notes: tuple[str, ...]
) -> ComparedModel:
    (original, own), *others = files
    size = original.path.stat().st_size
    return ComparedModel(
        schema=SCHEMA,
        model=model.case.name,
        command=f"python -m dtc.models.reproduce.searched --model {name}{options}",
        metric=model.case.objective.metric or "",
        samples=model.rest,
        versions=provenance(model.recipe())["versions"],
        bytes=size,
        value=own.value,
        files=tuple(
            ComparedFile(
                words=file.words,
                way=file.way,
                ratio=size / file.path.stat().st_size,
                value=judged.value,
                error=judged.error,
            )
            for file, judged in others
            if file.way is not None
        ),
        notes=notes,
    )


def _by_hand(model: SearchedModel, found: Found, output: Path) -> Iterator[tuple[str, Path]]:
    """Yield the best file with one candidate at all sites, where one keeps the goal."""
    best = found.report.best_uniform()
    if best is None:
        return
    rules = tuple(Rule.model_validate(rule) for rule in found.report.rules(best))
    recipe = model.recipe().model_copy(update={"rules": rules})
    compress(model.case.path, recipe, Job(output, force=True, seconds=0.0))
    yield f"{next(iter(best.sites.values()))}, the best single method", output


def _by_others(model: SearchedModel, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of ONNX Runtime's quantizers that make the model smaller."""
    for number, (words, quantize) in enumerate(QUANTIZERS.items()):
        path = folder / f"{number}.onnx"
        try:
            if not path.exists():
                quantize(model.case.path, path, model.case.feeds())
        except Exception as error:  # noqa: BLE001 - they raise anything of a model that they do not take
            click.echo(f"{words}: {error}", err=True)
            continue
        if path.stat().st_size < SMALLER * model.case.path.stat().st_size:
            yield words, path


def _by_tools(model: SearchedModel, folder: Path, tools: Tools) -> Iterator[tuple[str, Path]]:
    """Yield the files that other tools choose within the limit, where the metric is one that they are told of."""
    if model.case.objective.metric != "accuracy" or model.case.objective.carry:
        return
    for tool, interpreter in tools.items():
        chosen = tool.choose(model.case, model.goal.limit_drop, folder, interpreter)
        if chosen is not None:
            yield chosen


if __name__ == "__main__":
    main()
