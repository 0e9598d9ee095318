"""`dtc report`: the report of a compression, made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dtc.report import Report


@click.command("report")
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="folder to write to; default: FOLDER itself")
def command(folders: tuple[Path, ...], output: Path | None) -> None:
    """Make the report of one compression, or of several side by side.

    FOLDER is a run directory or a folder of a report; report.html and report.json are written.
    Of a run that is not finished, or still going on, the training so far is reported.
    Of several folders nothing is written: what each run was asked for, gained and cost is printed in columns.
    """
    from dtc.cli.render import table, tell
    from dtc.errors import UsageError
    from dtc.report import side_by_side, write_report

    if len(folders) == 1:
        tell(f"written: {write_report(_report(folders[0]), output or folders[0])}")
        return
    if output is not None:
        raise UsageError("--output is for the report of one folder; several are set side by side here")
    rows = side_by_side([_report(folder) for folder in folders])
    table(["", *map(str, folders)], [[fact, *found] for fact, found in rows])


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
