"""The results file of an experiment: its records as one JSON document, which docs are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from dtc.document import Document
from dtc.models.reproduce.papers.experiment import Course, Experiment, Record, Size

SCHEMA: Literal["dtc-results/1"] = "dtc-results/1"


class Results(Document):
    """All records of an experiment that were made at one size.

    Attributes:
        experiment: Its name.
        size: Its setting.
        records: In the order of the trials.
        courses: Of trainings that were ended early, likewise.
    """

    schema_: Literal["dtc-results/1"] = Field(SCHEMA, alias="schema")
    experiment: str
    size: Size
    records: tuple[Record, ...]
    courses: tuple[Course, ...] = ()

    @staticmethod
    def place(experiment: Experiment, size: Size, folder: Path) -> Path:
        """Return where the results of an experiment lie in a folder."""
        return folder / f"{experiment.name}-{size}.json"


def write_results(
    experiment: Experiment, size: Size, records: Sequence[Record], folder: Path, courses: Sequence[Course] = ()
) -> Path:
    """Write the records of an experiment into `folder`, numbers with five digits, and return the file."""
    results = Results(
        schema=SCHEMA, experiment=experiment.name, size=size, records=tuple(records), courses=tuple(courses)
    )
    path = Results.place(experiment, size, folder)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(results.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
    return path


def read_results(path: Path) -> Results:
    """Read a results file."""
    return Results.model_validate_json(path.read_text(encoding="utf-8"))
