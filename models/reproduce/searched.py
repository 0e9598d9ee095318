"""`dtc search` beside the best single method and rate: `python -m dtc.models.reproduce.searched`.

Models, samples and metrics are those of the one-shot table. The search decides by one half of the first 2,000 test
images, or of the first 20,000 words of the test text; the other files are those with one candidate at all sites that it
makes smaller, of which the smallest is taken that loses no more. Beside them stand the files of ONNX Runtime's own
quantizers. All are measured on what none has seen: the other 8,000 images, and the rest of the text. The folder keeps
what was evaluated: an interrupted run goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from dtc.data import open_source
from dtc.evaluate import evaluate
from dtc.graph import load_model
from dtc.graph.signature import input_specs
from dtc.job import Job
from dtc.metrics import make_metric
from dtc.models.reproduce.baselines import QUANTIZERS
from dtc.models.reproduce.one_shot import CASES, Benchmark
from dtc.models.reproduce.samples import IMAGE_BATCH
from dtc.pipeline import compress
from dtc.recipe import Data, Recipe, Rule
from dtc.search import Found, Goal, Request, search
from dtc.session import runner, session


@dataclass(frozen=True)
class SearchedModel:
    """A model of the one-shot table, what the search may lose, and the data that nothing has seen."""

    case: Benchmark
    goal: Goal
    rest: str

    def recipe(self) -> Recipe:
        """Return everything but rules; statistics stay as they are, as `dtc search` leaves them."""
        data = Data(train=self.case.samples, evaluate=self.case.test, batch_size=IMAGE_BATCH)
        return Recipe(objective=self.case.objective, data=data, batch_norm="frozen")

    def measure(self, path: Path) -> float:
        """Return the metric of a file on the data that nothing has seen."""
        assert self.case.objective.metric is not None, "a case names its metric"
        batches = open_source(self.rest, batch_size=1).batches(epoch=0, seed=0, shuffle=False)
        run, specs = runner(session(path, threads=1)), input_specs(load_model(self.case.path))
        return evaluate(run, batches, self.case.objective, make_metric(self.case.objective.metric), inputs=specs)


_WIDTH = 54
_SAMPLES = "dtc.models.reproduce.samples"
MODELS = {
    "resnet20": SearchedModel(CASES["resnet20"], Goal(max_drop=0.01), f"{_SAMPLES}:rest_images"),
    "ptb": SearchedModel(CASES["ptb"], Goal(max_drop=0.01, relative=True), f"{_SAMPLES}:rest_text"),
}


@click.command()
@click.option("--model", "chosen", multiple=True, type=click.Choice(list(MODELS)), help="default: both")
@click.option("--methods", default="codebook,uniform,binary", show_default=True, help="methods to try, with commas")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("searched"), show_default=True)
@click.option("--seconds", type=float, help="begin no evaluation of a search after so long; default: no limit")
def main(chosen: tuple[str, ...], methods: str, folder: Path, seconds: float | None) -> None:
    """Search both models and print the files beside those of the best single method."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in chosen or MODELS:
        click.echo("\n".join(_lines(name, tuple(methods.split(",")), folder, seconds)))


def _lines(name: str, methods: tuple[str, ...], folder: Path, limit: float | None) -> Iterator[str]:
    model, output, began = MODELS[name], folder / f"{name}.onnx", time.monotonic()
    place = folder / f"{name}.dtc-search"
    request = Request(model.goal, Job(output, force=True, seconds=0.0), methods, folder=place, seconds=limit)
    found = search(model.case.path, model.recipe(), request)
    seconds = time.monotonic() - began
    original, before = model.case.path.stat().st_size, model.measure(model.case.path)
    yield f"\n{name}: {original:,} bytes, {model.case.objective.metric} {before:.4f} on unseen data"
    yield f"{'file':{_WIDTH}} {'bytes':>9} {'ratio':>6} {'unseen':>9}"
    single, others = folder / f"{name}-single.onnx", folder / f"{name}-onnxruntime"
    for words, path in [("search", output), *_by_hand(model, found, single), *_by_others(model, others)]:
        size = path.stat().st_size
        yield f"{words:{_WIDTH}} {size:9,} {original / size:6.2f} {model.measure(path):9.4f}"
    yield f"search: {seconds:.0f} s of wall time; {found.report.chosen.words}"


def _by_hand(model: SearchedModel, found: Found, output: Path) -> Iterator[tuple[str, Path]]:
    """Yield the best file with one candidate at all sites, where one keeps the goal."""
    best = found.report.best_uniform()
    if best is None:
        return
    rules = tuple(Rule.model_validate(rule) for rule in found.report.rules(best))
    recipe = model.recipe().model_copy(update={"rules": rules})
    compress(model.case.path, recipe, Job(output, force=True, seconds=0.0))
    yield next(iter(best.sites.values())), output


def _by_others(model: SearchedModel, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of ONNX Runtime's quantizers; where one has nothing to quantize, the model is as it was."""
    folder.mkdir(exist_ok=True)
    for number, (words, quantize) in enumerate(QUANTIZERS.items()):
        path = folder / f"{number}.onnx"
        if not path.exists():
            quantize(model.case.path, path, model.case.feeds())
        yield words, path


if __name__ == "__main__":
    main()
