"""The page of size against accuracy: every method of a model in one picture, beside what others make of it."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tables import page, table

from dtc.models.reproduce.comparison import ComparedFile, ComparedModel, Way, front, read_comparisons
from dtc.models.reproduce.papers.pictures import dots_picture

INTRODUCTION = (
    "Every method on one picture for each model: how many times smaller a file is, and what it loses on test samples "
    "against the model on the same samples. Beside them stand the quantizers of ONNX Runtime, and what `dtc search` "
    "finds. The first table of a model holds the files than which no other is as small and loses as little; all files "
    "of a command stand below it, those of searches on [their own page](searched.md). Nothing here was typed: all of "
    "it is made of the files in `docs/results/compared/`. The commands write such files with `--results`; those of "
    "`methods` that are there now, and bytes by gzip and seconds of `one_shot`, were read by a script out of tables "
    "that these commands printed. Where ONNX Runtime 1.31 is named, codes had not yet the solvers that they have "
    "now.\n\n"
    "Each line is one seed. What was retrained had an epoch, or two, so that it says what a few minutes give. The "
    "commands measure on different test samples: half a point between files of two commands is no difference. Bits "
    "are those that a compressed weight takes, with all that is stored beside it; distance is that of the weights "
    "before they are retrained, as a share of their squares; seconds are those of one core."
)

PICTURES = "pictures"

_MOST = {"accuracy": 10.0, "perplexity": 40.0}
"""Files that lose more than this stand at the top of the picture."""

_UNITS = {"accuracy": "points lost", "perplexity": "perplexity lost, %"}

_MORE: Mapping[str, Callable[[ComparedFile], str]] = {
    "gzip": lambda file: "" if file.gzip is None else f"{file.gzip:,}",
    "bits": lambda file: "" if file.bits is None else f"{file.bits:.2f}",
    "distance": lambda file: "" if file.distance is None else f"{file.distance:.4f}",
    "seconds": lambda file: "" if file.seconds is None else f"{file.seconds:.1f}",
}
"""Columns that a table of all files of a command has where any of them is known."""


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
    """Yield each command with what it measured on, and a table of its files where more is known of them."""
    for each in comparisons:
        told = ", ".join(f"{name} {version}" for name, version in each.versions.items() if name != "machine")
        yield (
            f"`{each.command}`: {len(each.files)} files, measured on the samples of `{each.samples}`, where the model "
            f"({each.bytes:,} bytes) has {_value(each, each.value)}; {told}, {each.versions['machine']}."
        )
        more = {name: cell for name, cell in _MORE.items() if any(cell(file) for file in each.files)}
        if more:
            head = ["made by", "way", "bytes", "file", each.metric, _UNITS[each.metric], *more]
            yield table(head, ([*_cells(each, file), *(cell(file) for cell in more.values())] for file in each.files))


def _cells(comparison: ComparedModel, file: ComparedFile) -> list[str]:
    size = f"{comparison.bytes / file.ratio:,.0f}"
    lost = f"{comparison.lost(file):.2f}"
    return [file.words, file.way, size, f"{file.ratio:.1f}x", _value(comparison, file.value), lost]


def _value(comparison: ComparedModel, value: float) -> str:
    return f"{100 * value:.2f} %" if comparison.metric == "accuracy" else f"{value:.2f}"
