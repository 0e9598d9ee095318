"""`dtc report`: the report of a compression, made again."""

from __future__ import annotations

from pathlib import Path

import click

from dtc.report import JSON, Report, read_report, report_unfinished, write_report
from dtc.training.run import open_run


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="folder to write to; default: FOLDER itself")
def command(folder: Path, output: Path | None) -> None:
    """Write the report of FOLDER, a run directory or a folder of a report, as report.html and report.json.

    Of a run that is not finished, or still going on, the training so far is reported.
    """
    click.echo(f"written: {write_report(_report(folder), output or folder)}")


def _report(folder: Path) -> Report:
    if (folder / JSON).exists():
        known = read_report(folder / JSON)
        if known.output is not None or not (folder / "run.json").exists():
            return known
    return report_unfinished(open_run(folder))
