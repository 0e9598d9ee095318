"""Bundles for browsers and Node: ONNX Runtime Web of one version, a page, and a model without operators of dtc."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import onnx_ir as ir

from dtc.deploy.programs import (
    MissingError,
    ProgramError,
    ProgramReport,
    read_report,
    require_program,
    run_program,
    run_reporting,
)
from dtc.deploy.standard import put_functions_in_place
from dtc.deploy.target import BundleRun, DeployTarget, Place
from dtc.deploy.targets.web.browser import found_by_page

_PACKAGES = json.loads((Path(__file__).parent / "files" / "package.json").read_text(encoding="utf-8"))["dependencies"]
_LOCK = "package-lock.json"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class WebTarget(DeployTarget):
    """A model in standard operators: no native kernel can be loaded into ONNX Runtime Web."""

    name = "web"
    title = "browsers and Node, in ONNX Runtime Web"
    pinned: ClassVar[Mapping[str, str]] = _PACKAGES

    def prepare(self, model: ir.Model) -> list[str]:
        """Put the nodes of each operator's function in the operator's place."""
        return put_functions_in_place(model)

    def runs(self, processor: str) -> Sequence[BundleRun]:
        """Return Node and a headless Chromium."""
        return [BundleRun("Node", _node), BundleRun("Chromium", _chromium)]


def _node(place: Place) -> Callable[[], ProgramReport]:
    node = _installed(place)
    return partial(run_reporting, [node, "run.mjs", f"{place.seconds:g}"], place.folder)


def _chromium(place: Place) -> Callable[[], ProgramReport]:
    browser = require_program(_BROWSERS, "apt install chromium")
    _installed(place)
    profile = place.scratch / "profile"
    return lambda: read_report(found_by_page(browser, place.folder, profile, place.seconds))


def _installed(place: Place) -> str:
    """Install the packages that a bundle names, once for all bundles of the same ones; return where Node is.

    Raises:
        MissingError: There is no Node, or its packages cannot be fetched as the bundle has their hashes.
    """
    node = require_program(["node"], "apt install nodejs npm")
    npm = require_program(["npm"], "apt install npm")
    locked = hashlib.sha256((place.folder / _LOCK).read_bytes()).hexdigest()
    packages = place.scratch / f"npm-{locked[:16]}"
    if not packages.is_dir():
        packages.mkdir()
        for name in ("package.json", _LOCK):
            shutil.copyfile(place.folder / name, packages / name)
        try:
            run_program([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], packages)
        except ProgramError as error:
            raise MissingError(f"ONNX Runtime Web is missing: npm ci fails ({error})") from error
    link = place.folder / "node_modules"
    if not link.exists():
        link.symlink_to(packages / "node_modules")
    return node
