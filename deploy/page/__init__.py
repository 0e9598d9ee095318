"""A page and a program for Node that hold a model to its test vectors: what targets `web` and `wasm` share.

A bundle brings `index.html`, and `model.js` with `file`, its model; `runtime`, what that runs in; and `load`, which
makes of the bytes of that file a model: names of `inputs` and `outputs`, `run`, `release` where it holds what nobody
else frees, and `memory`, the bytes that it takes, where it knows them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dtc.deploy.page.browser import found_by_page
from dtc.deploy.programs import ProgramReport, read_report, require_program, run_reporting
from dtc.deploy.target import BundleRun, Place

FILES = Path(__file__).parent / "files"

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def write_page(folder: Path) -> None:
    """Put into a bundle what its page and its program for Node take."""
    shutil.copytree(FILES, folder, dirs_exist_ok=True)


def page_ways(prepare: Callable[[Place], None]) -> Sequence[BundleRun]:
    """Return Node and a headless Chromium; `prepare` builds or installs what a bundle takes in both."""
    return [BundleRun("Node", partial(_node, prepare)), BundleRun("Chromium", partial(_chromium, prepare))]


def _node(prepare: Callable[[Place], None], place: Place) -> Callable[[], ProgramReport]:
    node = require_program(["node"], "apt install nodejs npm")
    prepare(place)
    return partial(run_reporting, [node, "run.mjs", f"{place.seconds:g}"], place.folder)


def _chromium(prepare: Callable[[Place], None], place: Place) -> Callable[[], ProgramReport]:
    browser = require_program(_BROWSERS, "apt install chromium")
    prepare(place)
    profile = place.scratch / "profile"
    return lambda: read_report(found_by_page(browser, place.folder, profile, place.seconds))
