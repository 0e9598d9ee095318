"""The page of what `dtc search` found: its files beside the best single method and what a user would pick instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tables import page, table

from dtc.models.reproduce.comparison import ComparedFile, ComparedModel, read_comparisons

INTRODUCTION = (
    "What [dtc search](search.md) finds for a loss of one point, or one percent of the perplexity of a language model, "
    "beside the smallest file with a single method and rate that keeps the same promise, and beside what a user would "
    "pick instead: the files of ONNX Runtime's own quantizers, and where they were at hand the precisions that NNCF "
    "and AIMET choose within the same limit. All losses, and their standard errors, are of samples that neither the "
    "search nor a quantizer has seen. Nothing here was typed: all of it is made of the files of `searched` in "
    "`docs/results/compared/`, which the commands below write with `--results`."
)

_COMMAND = "dtc.models.reproduce.searched"


def searched_page(folder: Path) -> str:
    """Return the page of all that the command `searched` has left in a folder."""
    parts = [INTRODUCTION]
    for model, comparisons in read_comparisons(folder):
        ours = [each for each in comparisons if _COMMAND in each.command]
        if ours:
            parts += [f"## {model}", *(text for each in ours for text in _parts(each))]
    return page("What a search finds", parts)


def _parts(found: ComparedModel) -> Iterator[str]:
    original = [f"the model, {found.metric} {found.value:.4g}", f"{found.bytes:,}", "1.00", "", ""]
    yield table(
        ["file", "bytes", "ratio", "loses", "standard error"], [original, *(_row(found, f) for f in found.files)]
    )
    told = ", ".join(f"{name} {version}" for name, version in found.versions.items() if name != "machine")
    words = [f"`{found.command}`, on the samples of `{found.samples}`; {told}, {found.versions['machine']}."]
    if (smaller := _smaller(found)) is not None:
        words.append(f"The file of the search is {smaller:.1%} smaller than that of the best single method.")
    yield " ".join([*words, *found.notes])


def _row(found: ComparedModel, file: ComparedFile) -> list[str]:
    lost, unit = found.lost(file), "points" if found.metric == "accuracy" else "%"
    error = "" if file.error is None else f"{100 * file.error:.2f}"
    return [file.words, f"{found.bytes / file.ratio:,.0f}", f"{file.ratio:.2f}", f"{lost:.2f} {unit}", error]


def _smaller(found: ComparedModel) -> float | None:
    """Return by which share the searched file is smaller than the best with a single method."""
    ratios = {file.way: file.ratio for file in found.files if file.way in ("dtc search", "one-shot")}
    return 1 - ratios["one-shot"] / ratios["dtc search"] if len(ratios) == 2 else None
