"""Every method, one-shot and retrained, on three models: `python -m dtc.models.reproduce.methods`.

Models: the PTB language model and the CIFAR-10 ResNet-20 of the data folder, and LeNet-5, which is trained here. Each
line is a compression by the pipeline that `dtc compress` runs, measured on the test set. Results are kept in a folder
as they come, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import click

from dtc import models
from dtc.checking import CheckOptions, check
from dtc.checking.measurements import machine
from dtc.data import open_source
from dtc.errors import DataError
from dtc.job import Job
from dtc.models.reproduce.comparison import SCHEMA, ComparedFile, ComparedModel
from dtc.models.reproduce.papers.changes import write_distorted
from dtc.models.train import train_reference
from dtc.pipeline import Compression, compress
from dtc.recipe import Data, Objective, Optimizer, Recipe, Rule, Schedule, Training
from dtc.report.provenance import provenance

Pace = Literal["usual", "codes", "greedy", "gentle"]
"""The pace of retraining a line, for models with more than the usual pace.

codes: Between two distortions a weight has to come as far as another code, so they lie further apart (DeepTwist: 2,000
    steps for codes, 100 for other methods).
greedy: Once an epoch. The greedy code is no projection: each distortion takes something from codes that are codes.
gentle: Where one-shot loses next to nothing, a small learning rate.
"""


@dataclass(frozen=True)
class Line:
    """A line of the table: a method with its options, and the pace of its retraining."""

    rule: Rule
    pace: Pace = "usual"


@dataclass(frozen=True)
class Case:
    """A model, its data and metric, and its settings of retraining."""

    name: str
    train: str
    test: str
    objective: Objective
    batch_size: int
    training: Training
    paces: Mapping[Pace, Training] = field(default_factory=dict)

    def recipe(self, line: Line, *, retrain: bool) -> Recipe:
        """Return the recipe of a line."""
        data = Data(train=self.train, batch_size=self.batch_size)
        training = self.paces.get(line.pace, self.training) if retrain else None
        return Recipe(rules=(line.rule,), objective=self.objective, data=data, training=training)

    def given(self, **settings: Any) -> Case:
        """Return the case with other settings of all its training."""
        paces = {pace: training.model_copy(update=settings) for pace, training in self.paces.items()}
        return replace(self, training=self.training.model_copy(update=settings), paces=paces)


def _paces(usual: Training, *, steps: int) -> dict[Pace, Training]:
    """Return the other paces, in proportion to the usual one; `steps` is the length of an epoch."""
    interval = usual.distort_every
    assert interval != "auto", "the cases have numbers"

    def pace(*, rate: float, every: int, epochs: int) -> Training:
        optimizer = usual.optimizer.model_copy(update={"learning_rate": usual.optimizer.learning_rate * rate})
        return usual.model_copy(
            update={"optimizer": optimizer, "distort_every": every, "epochs": usual.epochs * epochs}
        )

    return {
        "codes": pace(rate=0.4, every=2 * interval, epochs=2),
        "greedy": pace(rate=0.4, every=steps, epochs=2),
        "gentle": pace(rate=0.1, every=interval, epochs=1),
    }


_DATASETS = "dtc.models.datasets"
_LENET = Training(
    epochs=1,
    distort_every=50,
    optimizer=Optimizer(kind="adam", learning_rate=5e-4),
    schedule=Schedule(kind="cosine"),
)
_RESNET = Training(
    epochs=1,
    distort_every=19,
    optimizer=Optimizer(kind="sgd", learning_rate=0.05, momentum=0.9),
    schedule=Schedule(kind="cosine"),
)
CASES = {
    "ptb": Case(
        "ptb",
        f"{_DATASETS}:ptb",
        f"{_DATASETS}:ptb_test",
        Objective(carry={"hn": "h0", "cn": "c0"}, metric="perplexity"),
        20,
        Training(
            epochs=1,
            distort_every=100,
            optimizer=Optimizer(kind="sgd", learning_rate=20, clip_norm=0.25),
            schedule=Schedule(kind="cosine"),
        ),
    ),
    "lenet-5": Case(
        "lenet-5",
        f"{_DATASETS}:mnist",
        f"{_DATASETS}:mnist_test",
        Objective(metric="accuracy"),
        50,
        _LENET,
        _paces(_LENET, steps=1100),
    ),
    "resnet-20": Case(
        "resnet-20",
        f"{_DATASETS}:cifar10",
        f"{_DATASETS}:cifar10_test",
        Objective(metric="accuracy"),
        100,
        _RESNET,
        _paces(_RESNET, steps=190),
    ),
}

UNMASKED = "prune 90 %, then binary 1 bit without a mask"
"""The line that masked coding is compared with: zeros are coded like every other weight."""

_SPARSE: dict[str, Any] = {"sparsity": 0.9, "end_step": "30%"}
_SPARSE_FIRST: dict[str, Any] = {"sparsity": 0.9, "end_step": "60%"}


def _line(method: str, pace: Pace = "usual", **options: Any) -> Line:
    return Line(Rule(method=method, options=options), pace)


METHODS: dict[str, Line] = {
    "svd, rank 0.3": _line("svd", rank_ratio=0.3),
    "prune 90 %": _line("prune", **_SPARSE),
    "prune-masked 90 %": _line("prune-masked", **_SPARSE),
    "binary 2 bits, greedy": _line("binary", "greedy", bits=2, solver="greedy"),
    "binary 2 bits, refined": _line("binary", "codes", bits=2, solver="refined"),
    "binary 2 bits, alternating": _line("binary", "codes", bits=2, solver="alternating"),
    "uniform 2 bits": _line("uniform", bits=2),
    "codebook 16, plain": _line("codebook", "gentle", codewords=16, block=1, gradient_weight=0),
    "codebook 16, weighted": _line("codebook", "gentle", codewords=16, block=1),
    "codebook 256 x 4, plain": _line("codebook", "gentle", codewords=256, block=4, gradient_weight=0),
    "codebook 256 x 4, weighted": _line("codebook", "gentle", codewords=256, block=4),
    "bins 8": _line("bins", "codes", bins=8),
    "prune 90 % + binary 1 bit": _line("prune+binary", "codes", **_SPARSE_FIRST, bits=1),
    UNMASKED: _line("binary", bits=1),
    "svd 0.3 + binary 3 bits": _line("svd+binary", "codes", rank_ratio=0.3, bits=3),
}


@click.command()
@click.option("--model", "chosen", multiple=True, type=click.Choice(list(CASES)), help="default: all")
@click.option("--method", "methods", multiple=True, help="words of a method's line (default: all)")
@click.option("--retrain/--no-retrain", default=True, help="also retrain")
@click.option("--steps", type=click.IntRange(min=1), help="retrain for so many steps; default: one epoch")
@click.option("--threads", type=click.IntRange(min=1), help="threads of the training; default: all cores")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("methods-table"), show_default=True)
@click.option("--results", type=click.Path(path_type=Path), help="also write a results file a model into this folder")
def main(
    chosen: tuple[str, ...],
    methods: tuple[str, ...],
    folder: Path,
    results: Path | None,
    steps: int | None,
    threads: int | None,
    *,
    retrain: bool,
) -> None:
    """Compress every model by every method and print one table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in chosen or CASES:
        case = CASES[name].given(steps=steps, threads=threads)
        original = _original(case, folder)
        for words, line in METHODS.items():
            if not methods or any(word in words for word in methods):
                # One-shot first: its result is there early, and the retrained line is printed beside it.
                for again in (False, True) if retrain else (False,):
                    _measure(case, original, words, line, folder, retrain=again)
        _print(case, folder)
        if results is not None and (found := _compared(case, folder, steps)):
            click.echo(found.write(results, "methods"))
    click.echo(f"\n{machine()}; Python {sys.version.split()[0]}")


def _original(case: Case, folder: Path) -> Path:
    if case.name == "lenet-5":
        path = folder / "lenet-5.onnx"
        if not path.exists():
            plan = models.plan("lenet-5")
            assert plan.training is not None
            short = plan.model_copy(update={"training": plan.training.model_copy(update={"epochs": 5, "steps": None})})
            train_reference(models.build("lenet-5"), short, path, folder / "lenet-5.run")
        return path
    if "DTC_DATA" not in os.environ:
        raise DataError("DTC_DATA must name the folder that holds onnx/")
    file = {"ptb": "ptb_rnnlm_lstm100_derived", "resnet-20": "resnet20_cifar10_derived"}[case.name]
    return Path(os.environ["DTC_DATA"]) / "onnx" / f"{file}.onnx"


def _measure(case: Case, original: Path, words: str, line: Line, folder: Path, *, retrain: bool) -> None:
    stem = f"{case.name}-{line.rule.method}-{words.translate(str.maketrans(' ,%', '---'))}"
    stem += "-retrained" if retrain else "-once"
    record = folder / f"{stem}.json"
    if record.exists():
        return
    output = folder / f"{stem}.onnx"
    # Two compressions in turn, prune and then code the result; retraining would undo the first of them.
    if words == UNMASKED:
        if retrain:
            return
        pruned = folder / f"{case.name}.pruned.onnx"
        write_distorted(original, pruned, Rule(method="prune", options=_SPARSE))
        original = pruned
    job = Job(output, force=True, seconds=0.0)
    run = folder / f"{stem}.run" if retrain else None
    result = compress(original, case.recipe(line, retrain=retrain), job, run=run)
    report = check(
        original,
        output,
        source=open_source(case.test, batch_size=200, split="evaluate"),
        options=CheckOptions(objective=case.objective, seconds=0.0),
    )
    assert report.metric is not None, "there is data"
    record.write_text(json.dumps(_facts(words, result, report.metric.before, report.metric.after, retrain=retrain)))
    click.echo(f"{case.name}: {words}, {'retrained' if retrain else 'one-shot'}: {report.metric.after:.6g}", err=True)


def _facts(line: str, result: Compression, before: float, after: float, *, retrain: bool) -> dict[str, Any]:
    report = result.report
    assert report.ratios is not None, "a compression has ratios"
    assert report.check is not None, "a compression is checked"
    sites = [site for site in report.sites if site.error is not None]
    # The error of a whole model: that of each site, weighted by its dense bytes. Sites left alone have no error.
    weight = sum(site.nbytes for site in sites)
    return {
        "line": line,
        "retrained": retrain,
        "before": before,
        "after": after,
        "file_bytes": [report.check.reference.file_bytes, report.check.candidate.file_bytes],
        "sites_ratio": report.ratios.sites,
        "bits": report.ratios.bits_per_weight,
        "error": sum((site.error or 0.0) * site.nbytes for site in sites) / weight if weight else None,
    }


def _records(case: Case, folder: Path) -> dict[tuple[str, bool], dict[str, Any]]:
    """Return what is there of each line, one-shot and retrained."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{case.name}-*.json"))]
    return {(record["line"], record["retrained"]): record for record in records}


def _compared(case: Case, folder: Path, steps: int | None) -> ComparedModel | None:
    """Return what there is of a model's table as a document, None where there is nothing."""
    found = _records(case, folder)
    pairs = [(words, again) for words in METHODS for again in (False, True) if (words, again) in found]
    if not pairs:
        return None
    first = found[pairs[0]]
    return ComparedModel(
        schema=SCHEMA,
        model=case.name,
        command=f"python -m dtc.models.reproduce.methods --model {case.name}{f' --steps {steps}' if steps else ''}",
        metric=case.objective.metric or "",
        samples=case.test,
        versions=provenance(case.recipe(METHODS[pairs[0][0]], retrain=True))["versions"],
        bytes=first["file_bytes"][0],
        value=first["before"],
        files=tuple(
            ComparedFile(
                words=words,
                way="retrained" if again else "one-shot",
                ratio=first["file_bytes"][0] / found[words, again]["file_bytes"][1],
                value=found[words, again]["after"],
                bits=found[words, again]["bits"],
                distance=found[words, again]["error"],
            )
            for words, again in pairs
        ),
    )


def _print(case: Case, folder: Path) -> None:
    found = _records(case, folder)
    if not found:
        return
    before = next(iter(found.values()))["before"]
    click.echo(f"\n{case.name}: {case.objective.metric} of the original {before:.6g}\n")
    click.echo("| method | bits/weight | sites | file | relative error | one-shot | retrained |")
    click.echo("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for line in METHODS:
        # A line is printed once its one-shot result is there; a missing retrained one leaves its column empty.
        once, again = found.get((line, False)), found.get((line, True))
        if once is None:
            continue
        ratio = once["file_bytes"][0] / once["file_bytes"][1]
        error = "" if once["error"] is None else f"{once['error']:.4f}"
        retrained = "" if again is None else f"{again['after']:.6g}"
        click.echo(
            f"| {line} | {once['bits']:.2f} | {once['sites_ratio']:.1f}x | {ratio:.1f}x | {error} | "
            f"{once['after']:.6g} | {retrained} |"
        )


if __name__ == "__main__":
    main()
