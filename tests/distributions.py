"""Distributions of somebody else, as `pip install` leaves them in a folder, and the command line that finds them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]


def distribution(folder: Path, sources: Mapping[str, str], points: Mapping[str, str]) -> None:
    """Put modules, by name, and an entry point of each group into a folder."""
    info = folder / "foreign-1.0.dist-info"
    info.mkdir(parents=True)
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    groups = (f"[{group}]\n{module} = {module}\n" for group, module in points.items())
    (info / "entry_points.txt").write_text("\n".join(groups))


def runner(folder: Path) -> Run:
    """Return what runs `dtc` in a process of its own with a folder on its path: status, output, errors."""
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(*words: object) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "dtc", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": paths},
        )
        return done.returncode, done.stdout, done.stderr

    return run
