"""The section with all that is needed to reproduce the result: recipe, files, versions."""

from __future__ import annotations

import yaml

from dtc.formatting import size
from dtc.report.blocks import name, number, row, section, table, text
from dtc.report.document import FileFacts, Report
from dtc.report.markup import Markup, tag


def facts_section(report: Report) -> Markup:
    """Return the recipe as YAML, the files with their hashes, and the versions."""
    files = [("original", file) for file in report.model.files]
    files += [("written", file) for file in report.output.files] if report.output else []
    return section(
        "How it was made",
        tag("h3", "Recipe"),
        tag("pre", yaml.safe_dump(report.recipe, sort_keys=False, allow_unicode=True)),
        tag("h3", "Files"),
        table(["", "file", ">size", "SHA-256"], [_file(kind, file) for kind, file in files]),
        tag("h3", "Versions"),
        table(["", "version"], [row(text(name), text(found)) for name, found in report.versions.items()]),
        id_="facts",
    )


def _file(kind: str, file: FileFacts) -> Markup:
    return row(text(kind), text(name(file.name), "name"), number(size(file.bytes)), text(file.sha256, "hash"))
