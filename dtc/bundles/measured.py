"""What a benchmark finds of bundles of several models in several forms: one JSON document, which docs are made of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from dtc.bundles.document import CheckedBundle
from dtc.document import Document, DocumentPart, read_document

SCHEMA: Literal["dtc-measured-bundles/1"] = "dtc-measured-bundles/1"


class MeasuredBundle(DocumentPart):
    """A bundle of a model in a form.

    Attributes:
        target: Its name.
        model: Its name.
        form: The method that compressed it; `original` of the model as it is.
        refused: Why the target does not take it; empty where it does.
        figures: What the target counts.
        found: Its sizes, and what came of each way to run it; times are medians of turns with the original's.
        beside: Latency of the original in each way, in the same turns.
        beside_loads: Its load.
        versions: Of what made it.
    """

    target: str
    model: str
    form: str
    refused: str = ""
    figures: dict[str, int] = Field(default_factory=dict)
    found: CheckedBundle | None = None
    beside: dict[str, float] = Field(default_factory=dict)
    beside_loads: dict[str, float] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """Target, model and form."""
        return self.target, self.model, self.form


class MeasuredBundles(Document):
    """All that were measured, in the order in which they were first."""

    schema_: Literal["dtc-measured-bundles/1"] = Field(SCHEMA, alias="schema")
    bundles: tuple[MeasuredBundle, ...] = ()

    def updated(self, new: Iterable[MeasuredBundle]) -> MeasuredBundles:
        """Return these, newer ones in the place of older ones of the same target, model and form."""
        both = {each.key: each for each in self.bundles} | {each.key: each for each in new}
        return MeasuredBundles(schema=SCHEMA, bundles=tuple(both.values()))


def read_measured(path: Path) -> MeasuredBundles:
    """Read what was measured so far; nothing where there is no file.

    Raises:
        UsageError: The file holds something else.
    """
    if not path.exists():
        return MeasuredBundles(schema=SCHEMA)
    return read_document(MeasuredBundles, path, "file of measured bundles")
