"""What a compression is told beside its recipe, and how a run directory remembers it.

A recipe says what is done to the weights, and gives the same file wherever it is run; a job says where that file goes,
how it is checked and what else is left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dtc.data import is_code
from dtc.errors import ModelError, UsageError
from dtc.graph import check_output
from dtc.recipe import Recipe

_FILE = "job.json"


@dataclass(frozen=True)
class Job:
    """Where the result goes, and how it is checked.

    Attributes:
        output: The file to write.
        force: Whether it may be overwritten.
        max_drop: Largest allowed loss of the metric, in its own unit.
        fixed: Inputs that the check holds fixed, by name: arrays, and lists of them for sequences.
        seconds: For measuring the latency of both models; with 0 neither latency nor memory is measured.
        report: Folder that the report is written to; None: only a run directory has one.
        describe_weights: Whether the report has histograms and spectra of the weights even if it is not written.
        dump: Folder for the model after each stage, checked there; None: it is not written.
        allow_growth: Whether a file that is larger than the model may be written.
        workers: Processes that distort weights, at most; None: as many as there are cores. They change no result.
        memory: Bytes that the work may take; None: what is free when it begins.
    """

    output: Path
    force: bool = False
    max_drop: float | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 2.0
    report: Path | None = None
    describe_weights: bool = False
    dump: Path | None = None
    allow_growth: bool = False
    workers: int | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        for name in ("output", "report", "dump"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(given))

    def refuse_early(self, source: Path, recipe: Recipe) -> None:
        """Stop before any work if the output cannot be written, or the limit not be checked.

        Raises:
            ModelError: The output exists and may not be overwritten, or it is the model itself, or has no folder.
            UsageError: There is a limit on the metric, and no data to measure it on; or a folder holds older files.
        """
        if self.max_drop is not None and recipe.data.train is None and recipe.data.evaluate is None:
            raise UsageError("a limit on the drop of the metric (--max-drop) needs data to measure it on: give --data")
        if _same_file(self.output, source):
            raise ModelError(f"{self.output}: is the model itself; choose another --output")
        check_output(self.output, force=self.force)
        if self.report is not None:
            self._refuse_folder(self.report, "report", ("report.json", "report.html"))
        if self.dump is not None:
            self._refuse_folder(self.dump, "dump", ("*.onnx",))

    def _refuse_folder(self, folder: Path, option: str, files: tuple[str, ...]) -> None:
        """Stop if a folder to write to is none, or cannot be made or written, or holds such files already."""
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        if not there.is_dir():
            raise UsageError(f"{there}: is no folder; name one for the {option} (--{option})")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UsageError(f"{there}: is not writable; choose another --{option}")
        if not self.force and any(any(folder.glob(pattern)) for pattern in files):
            raise UsageError(f"{folder}: holds a {option} already; choose another --{option} or add --force")

    def refuse_elsewhere(self, run: Path, *, output: Path | None, report: Path | None) -> None:
        """Stop if a run directory, which may be a stranger's, says to write outside of the folder that it lies in.

        `output` and `report` are what the user said again, None for nothing.

        Raises:
            UsageError: It does; the message says how to have it so.
        """
        for option, told, again in (("-o", self.output, output), ("--report", self.report, report)):
            if told is not None and again is None and not self.is_near(told, run):
                raise UsageError(
                    f"{run}: would write to {told}, outside of the folder that the run lies in; "
                    f"if that is meant, say it again: {option} {told}"
                )

    @staticmethod
    def is_near(path: Path, run: Path) -> bool:
        """True if a path lies within the folder that holds the run directory."""
        return path.resolve().is_relative_to(run.resolve().parent)

    def write(self, run: Path) -> None:
        """Leave the job in a run directory; the output is named relative to it, so that both can be moved."""
        facts = {
            "output": _relative(self.output, run),
            "report": None if self.report is None else _relative(self.report, run),
            "max_drop": self.max_drop,
            "allow_growth": self.allow_growth,
            "seconds": self.seconds,
            "fixed": {name: _described(value) for name, value in self.fixed.items()},
        }
        (run / _FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, run: Path, *, force: bool) -> Job:
        """Read the job of a run directory.

        Raises:
            UsageError: The directory is of no compression.
        """
        try:
            facts = json.loads((run / _FILE).read_text(encoding="utf-8"))
            fixed = {name: _restored(value) for name, value in facts["fixed"].items()}
            report = facts.get("report")
            return cls(
                output=_absolute(facts["output"], run),
                force=force,
                max_drop=facts["max_drop"],
                allow_growth=facts["allow_growth"],
                fixed=fixed,
                seconds=facts["seconds"],
                report=None if report is None else _absolute(report, run),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{run}: not the run directory of a compression ({error})") from error


def refuse_code(recipe: Recipe, base: Path, *, named_in: Path) -> None:
    """Stop at a recipe that names code: whoever wrote the file would have it run here.

    Raises:
        UsageError: A function is named as data, or a library of operators; the message says how to allow it.
    """
    for library in recipe.custom_ops:
        raise UsageError(
            f"{named_in}: names the library {library} of custom operators, which would be loaded; "
            "if you trust it, add --allow-code"
        )
    for spec in (recipe.data.train, recipe.data.evaluate):
        if spec is not None and is_code(spec, base) and not _is_own(spec):
            raise UsageError(
                f"{named_in}: names the Python function {spec} as data, which would be run; "
                "read it, then add --allow-code"
            )


def words_to_resume(run: Path) -> str:
    """Return the options that carry the compression of a run directory on, for those who began it."""
    words = f"--resume {run}"
    job, recipe = Job.read(run, force=False), Recipe.load(run / "recipe.yaml")
    if not job.is_near(job.output, run):
        words += f" -o {job.output}"
    if job.report is not None and not job.is_near(job.report, run):
        words += f" --report {job.report}"
    try:
        refuse_code(recipe, run, named_in=run)
    except UsageError:
        words += " --allow-code"
    return words


def _is_own(spec: str) -> bool:
    """True of functions in modules of dtc itself, as the data of the reference models is."""
    place = spec.rpartition(":")[0]
    return place.startswith("dtc.") and all(part.isidentifier() for part in place.split("."))


def is_compression(run: Path) -> bool:
    """True if a run directory is that of a compression, and not of a training from scratch."""
    return (run / _FILE).is_file()


def _same_file(first: Path, second: Path) -> bool:
    """True where both names lead to one file; False where they do not, or one of them is no name of a file."""
    try:
        return first.exists() and first.resolve() == second.resolve()
    except OSError:
        return False


def _described(value: Any) -> Any:
    """Return an array, or a list of them for a sequence, as JSON."""
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "value": value.tolist()}
    return [_described(each) for each in value]


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(each) for each in value]
    return np.asarray(value["value"], dtype=value["dtype"])


def _relative(path: Path, run: Path) -> str:
    return os.path.relpath(path.resolve(), run.resolve())


def _absolute(path: str, run: Path) -> Path:
    return Path(os.path.normpath(run.resolve() / path))
