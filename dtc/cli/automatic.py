"""`dtc compress --method auto`: the shortest form of a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dtc.cli.method_options import given_rule_options
from dtc.cli.recipe_options import training_flags
from dtc.cli.search_progress import search_progress
from dtc.cli.told_recipe import save_recipe, searched_recipe
from dtc.errors import UsageError
from dtc.job import Job
from dtc.pipeline import Compression
from dtc.search import Goal, Request, search

_SHARE = 0.01
"""Of the metric, which may be lost where the user says nothing."""


def compress_automatically(model: Path, options: dict[str, Any], job: Job) -> Compression:
    """Search for the smallest file that loses no more than `--max-drop`, else a hundredth of the metric.

    The job's own limit is left to the search, which keeps it on samples that it has not seen.

    Raises:
        UsageError: Options of one method or of retraining were given, which a search decides on or does not do; or
            there are no samples.
        CheckFailedError: No file keeps the limit; the nearest is written.
    """
    flags = given_rule_options(options) + training_flags(options) + (["--retrain"] if options["retrain"] else [])
    if flags:
        raise UsageError(f"{flags[0]} does not go with --method auto, which chooses methods and rates itself")
    recipe, told = searched_recipe(options), job.max_drop
    if recipe.data.train is None and recipe.data.evaluate is None:
        raise UsageError(
            "--method auto keeps a promise about samples: give --data; dtc search MODEL --target-ratio 8 needs none"
        )
    goal = Goal(max_drop=_SHARE if told is None else told, relative=told is None)
    request = Request(goal, job, include=options["include"] or ("*",), exclude=options["exclude"], force=job.force)
    with search_progress(quiet=options["as_json"]) as on_event:
        found = search(model, recipe, request, on_event=on_event)
    if options["save_recipe"] is not None:
        save_recipe(found.recipe, options["save_recipe"], force=job.force)
    found.raise_if_missed()
    return found.compression
