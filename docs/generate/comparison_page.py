"""The page of size against accuracy: every method of a model in one picture, beside what others make of it."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

from tables import page, table

from dtc.models.reproduce.comparison import ComparedFile, ComparedModel, Way, front, read_comparisons
from dtc.models.reproduce.papers.pictures import dots_picture

INTRODUCTION = (
    "Every method on one picture for each model: how many times smaller a file is, and what it loses on test samples "
    "against the model on the same samples. Beside them stand the quantizers of ONNX Runtime, and what `dtc search` "
    "finds. Tables hold the files than which no other is as small and loses as little. Nothing here was typed: all of "
    "it is made of the files in `docs/results/compared/`. The commands below write such files with `--results`; those "
    "of `methods` that are there now were read by a script out of the tables that these commands printed.\n\n"
    "What was retrained had an epoch, or two, so that it says what a few minutes give; where another machine is named, "
    "files are those of the tables in [results](results.md), printed before codes had the solvers that they have now. "
    "The commands measure on different test samples: half a point between files of two commands is no "
    "difference."
)

PICTURES = "pictures"

_MOST = {"accuracy": 10.0, "perplexity": 40.0}
"""Files that lose more than this stand at the top of the picture."""

_UNITS = {"accuracy": "points lost", "perplexity": "perplexity lost, %"}


def comparison_pages(folder: Path) -> dict[str, str]:
    """Return the page of all comparisons in `folder`, and its pictures, by their paths below docs/."""
    parts, files = [INTRODUCTION], {}
    for model, comparisons in read_comparisons(folder):
        place = f"{PICTURES}/compared-{model}.svg"
        title = f"{model}: times smaller, and what is lost"
        files[place] = _picture(title, comparisons)
        parts += [f"## {model}", f"![{title}]({place})", _front(comparisons), *_commands(comparisons)]
    return {"comparison.md": page("Size against accuracy", parts), **files}


def _picture(title: str, comparisons: Sequence[ComparedModel]) -> str:
    metric = comparisons[0].metric
    series: dict[str, list[tuple[float, float, str]]] = {way: [] for way in typing.get_args(Way)}
    for each, file in _files(comparisons):
        lost = each.lost(file)
        words = f"{file.words}: {file.ratio:.1f}x, {lost:.2f} {_UNITS[metric]}"
        series[file.way].append((file.ratio, min(lost, _MOST[metric]), words))
    return dots_picture(title, "times smaller", _UNITS[metric], series)


def _files(comparisons: Sequence[ComparedModel]) -> Iterator[tuple[ComparedModel, ComparedFile]]:
    return ((each, file) for each in comparisons for file in each.files)


def _front(comparisons: Sequence[ComparedModel]) -> str:
    rows = [[file.words, file.way, f"{file.ratio:.1f}x", f"{each.lost(file):.2f}"] for each, file in front(comparisons)]
    return table(["made by", "way", "file", _UNITS[comparisons[0].metric]], rows)


def _commands(comparisons: Sequence[ComparedModel]) -> Iterator[str]:
    for each in comparisons:
        told = ", ".join(f"{name} {version}" for name, version in each.versions.items() if name != "machine")
        value = f"{100 * each.value:.2f} %" if each.metric == "accuracy" else f"{each.value:.2f}"
        yield (
            f"`{each.command}`: {len(each.files)} files, measured on the samples of `{each.samples}`, where the model "
            f"({each.bytes:,} bytes) has {value}; {told}, {each.versions['machine']}."
        )
