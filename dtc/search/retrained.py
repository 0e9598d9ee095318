"""Mixes that are retrained, each in a run directory in the folder of the search: what was interrupted there goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtc.job import Job
from dtc.pipeline import Compression, compress, resume
from dtc.recipe import Training
from dtc.report import JSON
from dtc.search.candidate import Mix
from dtc.search.lab import Lab, Setting
from dtc.search.tasks import key_of, words_of

_RUNS = "retrained"


@dataclass(frozen=True)
class RetrainMix:
    """The file of a mix after retraining: its bytes and its loss, as of `BuildMix`."""

    mix: Mix
    training: Training
    batches: int
    unseen: bool = False
    timed: bool = False

    @property
    def key(self) -> str:
        """What the journal knows it by."""
        part, timed = "retrained, unseen" if self.unseen else "retrained", ["timed"] if self.timed else []
        return key_of(part, words_of(self.mix), self.training.model_dump(mode="json"), self.batches, *timed)

    def run(self, lab: Lab) -> dict[str, Any]:
        """Return the bytes and the loss."""
        compression = _retrained(lab.setting, self.mix, self.training)
        nbytes = sum(file.bytes for file in _files(compression))
        facts = lab.measured(compression.output, self.batches, unseen=self.unseen, timed=self.timed)
        return {"bytes": nbytes, **facts}


@dataclass(frozen=True)
class WriteRetrained:
    """The file of a mix after retraining, at the place where the user wants it."""

    mix: Mix
    training: Training
    job: Job

    @property
    def key(self) -> str:
        """What it is called."""
        return "write"

    def run(self, lab: Lab) -> dict[str, Any]:
        """Write the file, and return its report."""
        _retrained(lab.setting, self.mix, self.training)
        run = _folder(lab.setting, self.mix, self.training)
        result = resume(run, output=self.job.output, force=self.job.force, allow_code=True)
        return {"report": result.report.to_json()}


def _retrained(setting: Setting, mix: Mix, training: Training) -> Compression:
    """Return the retrained file of a mix; a run that has it gives it again, and one that was interrupted goes on."""
    run = _folder(setting, mix, training)
    job = Job(run.with_suffix(".onnx"), force=True, seconds=0.0)
    if not (run / "run.json").exists():
        run.parent.mkdir(exist_ok=True)
        recipe = setting.with_rules(mix).model_copy(update={"training": training})
        return compress(setting.model, recipe, job, base=setting.base, run=run, known=setting.known())
    if not (run / JSON).exists():
        # The file may have been put at its place just before the end.
        job.output.unlink(missing_ok=True)
    return resume(run, allow_code=True)


def _folder(setting: Setting, mix: Mix, training: Training) -> Path:
    told = key_of(words_of(mix), training.model_dump(mode="json"))
    return setting.folder / _RUNS / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.dtc-run"


def _files(compression: Compression) -> Sequence[Any]:
    output = compression.report.output
    assert output is not None, "it was written"
    return output.files
