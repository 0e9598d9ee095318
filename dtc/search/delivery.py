"""The file of the chosen mix, made by a worker: with the same threads as every file that was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dtc.errors import CheckFailedError
from dtc.job import Job
from dtc.pipeline import Compression, compress
from dtc.report import Report
from dtc.search.candidate import Mix
from dtc.search.lab import Lab
from dtc.search.points import BuiltPoint
from dtc.search.retrained import WriteRetrained
from dtc.search.workers import Executor


@dataclass(frozen=True)
class WriteFile:
    """The compression of the model by a mix; not in the journal, as its outcome is a file elsewhere."""

    mix: Mix
    job: Job

    @property
    def key(self) -> str:
        """What it is called."""
        return "write"

    def run(self, lab: Lab) -> dict[str, Any]:
        """Write the file, and return its report."""
        setting = lab.setting
        result = compress(
            setting.model, setting.with_rules(self.mix), self.job, base=setting.base, known=setting.known()
        )
        return {"report": result.report.to_json()}


def written(executor: Executor, point: BuiltPoint, job: Job) -> Compression:
    """Write the file of a point.

    Raises:
        CheckFailedError: It cannot be made; the reason is that of the compression.
    """
    mix, training = point.mix, point.training
    output = job.output
    # A worker may have another working directory.
    job = replace(job, output=job.output.absolute())
    task = WriteFile(mix, job) if training is None else WriteRetrained(mix, training, job)
    facts = executor.submit(task).result()
    if "refused" in facts:
        raise CheckFailedError(facts["refused"])
    return Compression(output, Report.model_validate_json(facts["report"]))
