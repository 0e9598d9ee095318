"""`dtc report`: the report of a compression, made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dtc.report import Report


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="folder to write to; default: FOLDER itself")
def command(folder: Path, output: Path | None) -> None:
    """Make the report of a compression again.

    FOLDER is a run directory or a folder of a report; report.html and report.json are written.
    Of a run that is not finished, or still going on, the training so far is reported.
    """
    from dtc.cli.render import tell
    from dtc.report import write_report

    tell(f"written: {write_report(_report(folder), output or folder)}")


def _report(folder: Path) -> Report:
    from dtc.report import JSON, read_report, report_unfinished
    from dtc.training.run import open_run

    # A finished report is read and written as a page again. One of an unfinished run is older than the run itself, so
    # it is made anew; a folder without a run has nothing but the report.
    if (folder / JSON).exists():
        known = read_report(folder / JSON)
        if known.output is not None or not (folder / "run.json").exists():
            return known
    return report_unfinished(open_run(folder))
