"""Tools that choose precisions under a limit by themselves, each in an interpreter that has it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from dtc.data import open_source
from dtc.models.reproduce.one_shot import Benchmark


@dataclass(frozen=True)
class OtherTool:
    """A tool, and the script that has it choose.

    Attributes:
        name: As it is called.
        package: As pip calls it.
        script: Beside this file; takes a JSON file with the model, the output, a folder of batches and the limit.
        words: What of it is used.
    """

    name: str
    package: str
    script: str
    words: str

    def choose(self, case: Benchmark, max_drop: float, folder: Path, interpreter: Path) -> tuple[str, Path] | None:
        """Return the file that the tool chooses within a limit, and what it was made by; None where it fails."""
        output, told = folder / f"{self.package}.onnx", folder / f"{self.package}.json"
        if not output.exists():
            facts = {"model": str(case.path), "output": str(output), "batches": str(_batches(case, folder))}
            told.write_text(json.dumps({**facts, "max_drop": max_drop}), encoding="utf-8")
            script = Path(__file__).with_name(self.script)
            done = subprocess.run([interpreter, script, told], check=False, capture_output=True, text=True)
            if done.returncode:
                click.echo(f"{self.name}: {done.stderr.splitlines()[-1:]}", err=True)
                return None
        return f"{self.name} {self._version(interpreter)}, {self.words}", output

    def _version(self, interpreter: Path) -> str:
        told = f"import importlib.metadata as m; print(m.version('{self.package}'))"
        return subprocess.run([interpreter, "-c", told], check=True, capture_output=True, text=True).stdout.strip()


NNCF = OtherTool("NNCF", "nncf", "nncf_control.py", "quantize_with_accuracy_control")
AIMET = OtherTool("AIMET", "aimet-onnx", "aimet_control.py", "choose_mixed_precision")


def _batches(case: Benchmark, folder: Path) -> Path:
    """Return a folder of what the search decides and is judged by, a file a batch."""
    batches = folder / "batches"
    batches.mkdir(exist_ok=True)
    source = open_source(case.test, batch_size=1)
    for number, batch in enumerate(source.batches(epoch=0, seed=0, shuffle=False)):
        np.savez(batches / f"{number:04}.npz", allow_pickle=False, **batch)
    return batches
