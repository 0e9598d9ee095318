"""The report as two files in a folder: `report.json` for tools, `report.html` for people."""

from __future__ import annotations

from pathlib import Path

from dtc.document import read_document
from dtc.errors import UsageError
from dtc.report.document import Report
from dtc.report.page import page

JSON, HTML = "report.json", "report.html"


def write_report(report: Report, folder: Path) -> Path:
    """Write both files, each whole or not at all, in place of older ones; return the page's path.

    Raises:
        UsageError: The folder cannot be written.
    """
    texts = {JSON: report.to_json() + "\n", HTML: page(report)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            _write(folder / name, text)
    except OSError as error:
        raise UsageError(f"{folder}: the report cannot be written there ({error.strerror})") from error
    return folder / HTML


def read_report(path: Path) -> Report:
    """Read a `report.json`.

    Raises:
        UsageError: There is none, or it is no report of this version.
    """
    return read_document(Report, path, "report")


def _write(path: Path, text: str) -> None:
    # A reader sees the old file or the new one, never half of it: a browser may be looking while the run goes on.
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
