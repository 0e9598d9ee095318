"""The provenance of a report: files with their hashes, versions, machine, time, and the recipe as given."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from dtc.checking.measurements import machine
from dtc.recipe import Recipe
from dtc.report.document import FileFacts, ModelFiles
from dtc.training.engine_kind import engine_title
from dtc.training.run import fingerprint


def describe_files(paths: Sequence[Path]) -> ModelFiles:
    """Return the files of a model, its own first, with their hashes."""
    folder = paths[0].parent
    return ModelFiles(
        files=tuple(
            FileFacts(name=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=fingerprint(path))
            for path in paths
        )
    )


def provenance(recipe: Recipe) -> dict[str, Any]:
    """Return the fields `created`, `versions` and `recipe` of a report that is made now."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(recipe),
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True) | {"format": recipe.format},
    }


def _versions(recipe: Recipe) -> dict[str, str]:
    found = {"dtc": _own_version(), "python": platform.python_version()}
    # Asked of the modules: a distribution may go by another name (onnxruntime-gpu, for one).
    found |= {module.__name__: module.__version__ for module in (onnx, ir, onnxruntime, np)}
    return found | ({"engine": engine_title(recipe)} if recipe.training else {}) | {"machine": machine()}


def _own_version() -> str:
    try:
        return version("dtc")
    except PackageNotFoundError:
        return "not installed"
