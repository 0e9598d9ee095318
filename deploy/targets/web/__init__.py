"""Bundles for browsers and Node: ONNX Runtime Web of one version, a page, and a model without operators of dtc."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import onnx_ir as ir

from dtc.deploy.page import page_ways, write_page
from dtc.deploy.programs import MissingError, ProgramError, require_program, run_program
from dtc.deploy.standard import put_functions_in_place
from dtc.deploy.target import BundleRun, DeployTarget, Draft, Place
from dtc.deploy.targets.web.casts import replace_casts

_PACKAGES = json.loads((Path(__file__).parent / "files" / "package.json").read_text(encoding="utf-8"))["dependencies"]
_LOCK = "package-lock.json"


class WebTarget(DeployTarget):
    """A model in standard operators: no native kernel can be loaded into ONNX Runtime Web."""

    name = "web"
    title = "browsers and Node, in ONNX Runtime Web"
    lowering = "web"
    pinned: ClassVar[Mapping[str, str]] = _PACKAGES

    def prepare(self, model: ir.Model) -> list[str]:
        """Put the nodes of each operator's function in the operator's place, and others in that of Casts."""
        told = put_functions_in_place(model)
        replace_casts(model)
        return told

    def complete(self, draft: Draft) -> list[str]:
        """Put the page and the program for Node in."""
        write_page(draft.folder)
        return []

    def runs(self, processor: str) -> Sequence[BundleRun]:
        """Return Node and a headless Chromium."""
        return page_ways(_install)


def _install(place: Place) -> None:
    """Install the packages that a bundle names, once for all bundles of the same ones.

    Raises:
        MissingError: There is no npm, or the packages cannot be fetched as the bundle has their hashes.
    """
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
