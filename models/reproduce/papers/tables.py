"""Parts of the tables: results of several seeds as one figure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dtc.models.reproduce.papers.experiment import Record


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table; its first column is words, the others are numbers."""
    for line in (head, ["---", *["---:"] * (len(head) - 1)], *rows):
        yield "| " + " | ".join(line) + " |"


def having(records: Iterable[Record], **facts: Any) -> list[Record]:
    """Return the records with these facts; a fact that is None has to be missing."""
    return [each for each in records if all(each.facts.get(name) == value for name, value in facts.items())]


def controls(records: Iterable[Record]) -> list[Record]:
    """Return the controls of retraining: trained as long from the same weights, and never distorted."""
    records = list(records)
    return having(records, what="dense again") or having(records, what="dense")


def mean(values: Sequence[float]) -> float:
    """Return the mean of several seeds."""
    return statistics.fmean(values)


def percent(values: Sequence[float]) -> str:
    """Return the mean in percent, and the standard deviation where there are several; empty where there is none."""
    return _spread([100 * value for value in values], " %")


def number(values: Sequence[float]) -> str:
    """Return the mean, and the standard deviation where there are several; empty where there is none."""
    return _spread(values, "")


def file_ratio(records: Sequence[Record]) -> str:
    """Return how many times smaller the first one's file is."""
    before, after = records[0].bytes
    return f"{before / after:.1f}x"


def site_ratio(records: Sequence[Record]) -> str:
    """Return how many times smaller the first one's compressed weights are; empty where there are none."""
    before, after = records[0].site_bytes
    return f"{before / after:.1f}x" if after else ""


def _spread(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{mean(values):.2f}{deviation}{unit}"
