"""`dtc compress --dry-run`: what would be written, and what the work would take; nothing is written."""

from __future__ import annotations

from pathlib import Path

from dtc.cli.render import shape, size, table, tell
from dtc.errors import UsageError
from dtc.job import Job
from dtc.pipeline import Estimate, estimate
from dtc.recipe import Recipe

_WRITES = {"resumed": "--resume", "save_recipe": "--save-recipe", "run": "--run", "dump": "--dump"}
"""Options that say what is written, or what was."""


def foretold(model: Path, recipe: Recipe, job: Job, given: dict[str, object]) -> Estimate:
    """Return the estimate of a command line whose options are `given`.

    Raises:
        UsageError: An option writes something.
    """
    for name, flag in _WRITES.items():
        if given.get(name) is not None:
            raise UsageError(f"{flag} does not go with --dry-run, which writes nothing")
    return estimate(model, recipe, job)


def show_estimate(found: Estimate) -> None:
    """Print the sites, then the file, then what it takes."""
    rows = [
        [
            site.name,
            site.role,
            shape(site.shape),
            f"{site.method}: {site.form}, {site.detail}" if site.form else "left alone",
            size(site.nbytes),
            size(site.file_bytes) if site.exact else f"about {size(site.file_bytes)}",
            site.reason or "",
        ]
        for site in found.sites
    ]
    table(["site", "role", "shape", "would become", ">before", ">after", "why not"], rows)
    about, needs = "" if found.exact else "about ", found.needs
    tell(
        f"file: {size(found.model_bytes)} -> {about}{size(found.output_bytes)}, "
        f"{found.model_bytes / max(found.output_bytes, 1):.2f}x"
    )
    whole = "" if needs.runs_whole else ", so that it is not run whole"
    tell(
        f"memory: {size(needs.memory)}, and {size(needs.memory_of_whole)} where the whole model is run; "
        f"{size(needs.memory_allowed)} may be used (--memory){whole}"
    )
    tell(f"disk: {size(needs.disk)} beside the output, {size(needs.disk_free)} are free")
    tell(f"time: about {_duration(needs.seconds)}, without retraining and what samples are measured for")
    for note in found.notes:
        tell(note)
    tell("nothing was written (--dry-run)")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
