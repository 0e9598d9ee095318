"""Files of one model by their sizes and what they lose: the results files that docs/comparison.md is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field

from dtc.document import Document, DocumentPart, read_document

SCHEMA: Literal["dtc-comparison/1"] = "dtc-comparison/1"

SMALLER = 0.99
"""Files that have more than this share of the model's bytes are not compared: nothing in them was compressed."""

Way: TypeAlias = Literal["one-shot", "retrained", "other quantizers", "dtc search"]
"""How a file was made; a colour each in the picture."""


class ComparedFile(DocumentPart):
    """A file of the model.

    Attributes:
        words: What it was made by.
        way: How.
        ratio: How many times smaller than the model it is, all of the file counted.
        value: The metric, on the samples of the comparison.
        error: Standard error of what it loses there: of the metric, or of a share where shares are lost; None: unknown.
        bits: A compressed weight takes, with all that its form stores.
        distance: Of the compressed weights from those of the model, relative to their squares, before retraining.
        gzip: Bytes of the file, compressed further.
        seconds: Of one core, to make it.
    """

    words: str
    way: Way
    ratio: float
    value: float
    error: float | None = None
    bits: float | None = None
    distance: float | None = None
    gzip: int | None = None
    seconds: float | None = None


class ComparedModel(Document):
    """A model, and the files that one command made of it and measured on the same samples.

    Attributes:
        model: Its name.
        command: What made and measured all of it, as one types it.
        metric: `accuracy`, of which points are lost, or `perplexity`, of which shares are.
        samples: What was measured on, in words.
        versions: Of dtc, of what it ran on, and the machine.
        bytes: Of the model itself; `value` is its metric.
        files: In the order of the command's table.
        notes: What is to be known of the run, such as how long it took.
    """

    schema_: Literal["dtc-comparison/1"] = Field(SCHEMA, alias="schema")
    model: str
    command: str
    metric: str
    samples: str
    versions: dict[str, str]
    bytes: int
    value: float
    files: tuple[ComparedFile, ...]
    notes: tuple[str, ...] = ()

    def lost(self, file: ComparedFile) -> float:
        """Return what a file loses: points of accuracy, or percent of the perplexity; below 0 where it gains."""
        if self.metric == "accuracy":
            return 100 * (self.value - file.value)
        return 100 * (file.value / self.value - 1)

    def write(self, folder: Path, name: str) -> Path:
        """Write the document into a folder, under the name of its model and another one, and return the file."""
        path = folder / f"{self.model}-{name}.json"
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json(indent=1) + "\n", encoding="utf-8")
        return path


def read_comparisons(folder: Path) -> Iterator[tuple[str, list[ComparedModel]]]:
    """Yield each model with all that was compared of it, by name."""
    found: dict[str, list[ComparedModel]] = {}
    for path in sorted(folder.glob("*.json")):
        each = read_document(ComparedModel, path, "comparison")
        found.setdefault(each.model, []).append(each)
    yield from found.items()


def front(comparisons: Sequence[ComparedModel]) -> list[tuple[ComparedModel, ComparedFile]]:
    """Return the files than which no other is as small and loses as little, the largest first."""
    pairs = [(each, file) for each in comparisons for file in each.files]
    pairs.sort(key=lambda pair: (pair[1].ratio, -pair[0].lost(pair[1])), reverse=True)
    best, least = [], float("inf")
    # From the smallest file to the largest: one that loses as much as a smaller one is beaten by it.
    for comparison, file in pairs:
        if (lost := comparison.lost(file)) < least:
            best.append((comparison, file))
            least = lost
    return best[::-1]
