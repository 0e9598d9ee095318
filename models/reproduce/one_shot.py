"""Methods without retraining beside ONNX Runtime's quantizers: `python -m dtc.models.reproduce.one_shot`.

Models: the CIFAR-10 ResNet-20 and the PTB language model of the data folder. Every method has its defaults, with and
without samples: the first 1,024 training images as they are, or 16 batches of 32 x 35 words of the training text.
Measured on the first 2,000 test images and the first 20,000 words of the test text. Results are kept in a folder as
they come, so that an interrupted run goes on where it was. Set `OMP_NUM_THREADS=1` for times of one core.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dtc.data import open_source
from dtc.errors import DataError, DtcError
from dtc.evaluate import evaluate, stateful
from dtc.graph import load_model
from dtc.graph.signature import TensorSpec, input_specs
from dtc.job import Job
from dtc.metrics import make_metric
from dtc.models.reproduce.baselines import NEEDS_SAMPLES, QUANTIZERS, Feeds
from dtc.models.reproduce.comparison import SCHEMA, SMALLER, ComparedFile, ComparedModel, Way
from dtc.models.reproduce.samples import IMAGE_BATCH
from dtc.pipeline import compress
from dtc.recipe import Data, Objective, Recipe, Rule
from dtc.report.provenance import provenance
from dtc.session import runner, session


@dataclass(frozen=True)
class Benchmark:
    """A model, its samples and its metric; samples are named as `--data` names them."""

    name: str
    file: str
    samples: str
    test: str
    objective: Objective
    folder: str = "onnx"

    @property
    def path(self) -> Path:
        """The model in its folder of the data folder, or elsewhere where that is absolute."""
        if "DTC_DATA" not in os.environ:
            raise DataError("DTC_DATA must name the folder that holds onnx/")
        return Path(os.environ["DTC_DATA"]) / self.folder / self.file

    def recipe(self, rule: Rule, *, samples: bool) -> Recipe:
        """Return the recipe of a line; all that is not in the rule is a default."""
        data = Data(train=self.samples, batch_size=IMAGE_BATCH) if samples else Data()
        return Recipe(rules=(rule,), objective=self.objective, data=data)

    def feeds(self) -> Feeds:
        """Yield all inputs of the model on the samples, carried state among them."""
        specs = input_specs(load_model(self.path))
        run = runner(session(self.path, threads=1))
        wanted = {spec.name for spec in specs}
        source = open_source(self.samples, batch_size=IMAGE_BATCH)
        seen: list[dict[str, Any]] = []

        def remember(inputs: dict[str, Any]) -> dict[str, Any]:
            seen.append({name: array for name, array in inputs.items() if name in wanted})
            return run(inputs)

        batches = source.batches(epoch=0, seed=0, shuffle=False)
        for _ in stateful(remember, batches, self.objective, specs):
            yield seen.pop()

    def measure(self, path: Path) -> float:
        """Return the metric of a model on the test data."""
        assert self.objective.metric is not None, "a case names its metric"
        batches = open_source(self.test, batch_size=1).batches(epoch=0, seed=0, shuffle=False)
        specs: tuple[TensorSpec, ...] = input_specs(load_model(self.path))
        run = runner(session(path, threads=1))
        return evaluate(run, batches, self.objective, make_metric(self.objective.metric), inputs=specs)


_SAMPLES = "dtc.models.reproduce.samples"
CASES = {
    "resnet-20": Benchmark(
        "resnet-20",
        "resnet20_cifar10_derived.onnx",
        f"{_SAMPLES}:images",
        f"{_SAMPLES}:test_images",
        Objective(metric="accuracy"),
    ),
    "ptb": Benchmark(
        "ptb",
        "ptb_rnnlm_lstm100_derived.onnx",
        f"{_SAMPLES}:text",
        f"{_SAMPLES}:test_text",
        Objective(metric="perplexity", carry={"hn": "h0", "cn": "c0"}),
    ),
}


def _rule(method: str, **options: Any) -> Rule:
    return Rule(method=method, options=options)


METHODS = {
    "binary 2": _rule("binary", bits=2),
    "binary 3": _rule("binary", bits=3),
    "binary 4": _rule("binary", bits=4),
    "uniform 2": _rule("uniform", bits=2),
    "uniform 3": _rule("uniform", bits=3),
    "uniform 4": _rule("uniform", bits=4),
    "uniform 4, groups of 32": _rule("uniform", bits=4, group_size=32),
    "uniform 5": _rule("uniform", bits=5),
    "uniform 8": _rule("uniform", bits=8),
    "codebook 8 scalars": _rule("codebook", codewords=8, block=1),
    "codebook 16 scalars": _rule("codebook", codewords=16, block=1),
    "codebook 32 scalars": _rule("codebook", codewords=32, block=1),
    "codebook 256 x 4": _rule("codebook", codewords=256, block=4),
    "codebook 256 x 9": _rule("codebook", codewords=256, block=9),
    "prune 70 %": _rule("prune", sparsity=0.7),
    "prune 90 %": _rule("prune", sparsity=0.9),
    "svd, half of the rank": _rule("svd", rank_ratio=0.5),
}


@dataclass(frozen=True)
class Contender:
    """A line of the table: one of `QUANTIZERS`, or else one of `METHODS`, with or without samples."""

    words: str
    samples: bool

    def record(self, case: Benchmark, folder: Path) -> Path:
        """Return the file that holds the result."""
        stem = "".join(letter if letter.isalnum() else "-" for letter in self.words)
        return folder / f"{case.name}-{stem}{'-samples' if self.samples else ''}.json"

    def write(self, case: Benchmark, output: Path) -> None:
        """Write the compressed model."""
        if self.words in QUANTIZERS:
            QUANTIZERS[self.words](case.path, output, case.feeds())
            return
        recipe = case.recipe(METHODS[self.words], samples=self.samples)
        compress(case.path, recipe, Job(output, force=True, seconds=0.0, allow_growth=True))


LINES = [
    *(Contender(words, words == NEEDS_SAMPLES) for words in QUANTIZERS),
    *(Contender(words, samples) for words in METHODS for samples in (False, True)),
]


@click.command()
@click.option("--model", "chosen", multiple=True, type=click.Choice(list(CASES)), help="default: both")
@click.option("--method", "methods", multiple=True, help="words of a line (default: all)")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("one-shot-table"), show_default=True)
@click.option("--results", type=click.Path(path_type=Path), help="also write a results file a model into this folder")
def main(chosen: tuple[str, ...], methods: tuple[str, ...], folder: Path, results: Path | None) -> None:
    """Compress both models by every method and quantizer and print a table of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in chosen or CASES:
        for line in LINES:
            if not methods or any(word in line.words for word in methods):
                measure(CASES[name], line, folder)
        click.echo("\n".join(table(CASES[name], folder)))
        if results is not None:
            click.echo(compared(CASES[name], folder).write(results, "one-shot"))


def measure(case: Benchmark, line: Contender, folder: Path) -> None:
    """Compress a model by one line and keep the result in `folder`; a result that is there is not made again."""
    record = line.record(case, folder)
    if record.exists():
        return
    output = record.with_suffix(".onnx")
    began = os.times()
    try:
        line.write(case, output)
    except DtcError as error:
        record.write_text(json.dumps({"refused": str(error).partition(": ")[2]}))
        return
    ended = os.times()
    # The engine that measures gradients is a process of its own.
    seconds = sum(ended[:4]) - sum(began[:4])
    content = output.read_bytes()
    facts = {
        "bytes": len(content),
        "gzip": len(gzip.compress(content, 9)),
        "metric": case.measure(output),
        "seconds": seconds,
    }
    record.write_text(json.dumps(facts))
    click.echo(f"{case.name}: {line.words}{', samples' if line.samples else ''}: {facts}", err=True)


def table(case: Benchmark, folder: Path) -> Iterator[str]:
    """Yield the lines of a model's table, as far as there are results."""
    original = case.path.read_bytes()
    accuracy = case.objective.metric == "accuracy"
    before = case.measure(case.path)
    zipped = len(gzip.compress(original, 9))
    yield f"\n{case.name}: {len(original):,} bytes, gzip {zipped:,}, {_told(before, accuracy)}\n"
    yield f"| method | samples | bytes | gzip | ratio | {case.objective.metric} | change | CPU s |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for line in LINES:
        if not (record := line.record(case, folder)).exists():
            continue
        facts = json.loads(record.read_text())
        label = f"| {line.words} | {'yes' if line.samples else ''} "
        if "refused" in facts:
            yield f"{label}| {facts['refused']} | | | | | |"
            continue
        change = f"{100 * (facts['metric'] - before):+.2f}" if accuracy else f"{facts['metric'] / before - 1:+.1%}"
        yield (
            f"{label}| {facts['bytes']:,} | {facts['gzip']:,} | {len(original) / facts['bytes']:.1f} | "
            f"{_told(facts['metric'], accuracy)} | {change} | {facts['seconds']:.1f} |"
        )


def compared(case: Benchmark, folder: Path) -> ComparedModel:
    """Return what there is of a model's table as a document, without what is no smaller than the model."""
    files, size = [], case.path.stat().st_size
    for line in LINES:
        facts = json.loads(record.read_text()) if (record := line.record(case, folder)).exists() else {}
        if facts.get("bytes", size) < SMALLER * size:
            of_others = line.words in QUANTIZERS
            words = f"{line.words}{', with samples' if line.samples and not of_others else ''}"
            way: Way = "other quantizers" if of_others else "one-shot"
            told = {"value": facts["metric"], "gzip": facts["gzip"], "seconds": facts["seconds"]}
            files.append(ComparedFile(words=words, way=way, ratio=size / facts["bytes"], **told))
    return ComparedModel(
        schema=SCHEMA,
        model=case.name,
        command=f"python -m dtc.models.reproduce.one_shot --model {case.name}",
        metric=case.objective.metric or "",
        samples=case.test,
        versions=provenance(Recipe())["versions"],
        bytes=size,
        value=case.measure(case.path),
        files=tuple(files),
    )


def _told(metric: float, accuracy: bool) -> str:  # noqa: FBT001
    return f"{100 * metric:.2f} %" if accuracy else f"{metric:.2f}"


if __name__ == "__main__":
    main()
