"""A search that is killed at random moments: `python tests/fuzz/search_kills.py [COUNT [SEED]]`.

A search is carried out once undisturbed. Another one, of the same model and data, is killed COUNT times (SIGKILL), each
time a moment after so many evaluations as a dice says, and begun again by the same command; the last one is left alone.
File, recipe and what it prints have to be the same, byte for byte.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dtc import models
from dtc.graph import save_model
from dtc.search.journal import FILE as JOURNAL

SAMPLES = 600
MOMENT = 0.5
"""Longest time between an evaluation and the kill, in seconds."""


@dataclass(frozen=True)
class Outcome:
    """What a search leaves behind."""

    printed: str
    files: dict[str, bytes]


def main(count: int = 10, seed: int = 0) -> int:
    """Print what was found; the exit status is 1 if the results differ."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _write(folder, seed)
        undisturbed = _ended(folder, _started(folder))
        total = _evaluations(folder)
        shutil.rmtree(folder / "search")
        after = sorted(dice.choices(range(total), k=count))
        kept = [_killed(folder, each, dice.uniform(0, MOMENT)) for each in after]
        resumed = _ended(folder, _started(folder))
    same = resumed == undisturbed and set(undisturbed.files) == {"out.onnx", "out.recipe.yaml"}
    told = "the same" if same else "ANOTHER"
    print(
        f"{count} kills, with {', '.join(map(str, kept))} of {total} evaluations kept; file, recipe and report: {told}"
    )
    return 0 if same else 1


def _write(folder: Path, seed: int) -> None:
    dice = np.random.default_rng(seed)
    save_model(models.build("digits-mlp", hidden=48), folder / "m.onnx")
    images = dice.random((SAMPLES, 1, 8, 8), dtype=np.float32)
    np.savez(folder / "d.npz", image=images, labels=dice.integers(0, 10, SAMPLES))


def _started(folder: Path) -> subprocess.Popen[str]:
    for path in folder.glob("out.*"):
        path.unlink()
    told = ["search", "m.onnx", "--data", "d.npz", "--max-drop", "0.05", "-o", "out.onnx", "--folder", "search"]
    words = [sys.executable, "-m", "dtc", *told, "--methods", "uniform", "--workers", "1", "--seconds", "0", "--json"]
    return subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _ended(folder: Path, process: subprocess.Popen[str]) -> Outcome:
    printed, _ = process.communicate()
    return Outcome(printed, {path.name: path.read_bytes() for path in sorted(folder.glob("out.*")) if path.is_file()})


def _killed(folder: Path, evaluations: int, moment: float) -> int:
    """Kill a search a moment after so many evaluations; return how many its journal holds."""
    process = _started(folder)
    while process.poll() is None and _evaluations(folder) < evaluations:
        time.sleep(0.005)
    time.sleep(moment)
    process.kill()
    process.communicate()
    return _evaluations(folder)


def _evaluations(folder: Path) -> int:
    journal = folder / "search" / JOURNAL
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
