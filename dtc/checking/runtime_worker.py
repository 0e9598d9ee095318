"""Runs a model in a runtime, in a process that may die of it, under any interpreter that has NumPy and the runtime.

It is started by its path and imports nothing of dtc: `python runtime_worker.py RUNTIME.py FOLDER`. The folder holds
what is to be run (`job.json`, `feeds.npz`); what came of it is written there (`told.json`, `outputs.npz`).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def main(source: str, folder: Path) -> None:
    """Run the job of a folder in the runtime whose module is the file `source`."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    runtime = _load(source)
    told: dict[str, object] = {"version": _version(runtime)}
    try:
        found = []
        with np.load(folder / "feeds.npz") as feeds:
            for run in range(job["runs"]):
                feed = {name: feeds[f"{run}.{index}"] for index, name in enumerate(job["inputs"])}
                found.append(runtime.run(job["model"], feed, job["outputs"]))
        arrays: dict[str, Any] = {
            f"{run}.{index}": np.asarray(each) for run, one in enumerate(found) for index, each in enumerate(one)
        }
        np.savez(folder / "outputs.npz", **arrays)
    except Exception as error:  # noqa: BLE001  # whatever a runtime raises is what there is to tell
        told["error"] = " ".join(f"{error or type(error).__name__}".split())[:300]
    (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")


def _load(source: str) -> ModuleType:
    """Return the module of a runtime; its name is none that the runtime's own package has."""
    spec = importlib.util.spec_from_file_location("dtc_runtime", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _version(runtime: ModuleType) -> str:
    try:
        return importlib.metadata.version(runtime.PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    # The folder of this file is that of a package: its modules are none of those that a runtime imports.
    here = Path(__file__).resolve().parent
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != here]
    main(sys.argv[1], Path(sys.argv[2]))
