"""A check of the model after each stage by ONNX's checker, with all shapes inferred.

The check names the stage that breaks the graph, and not a later one that trips over it. `Job.dump` asks for the check
and keeps the files; the environment variable `DTC_VERIFY_STAGES`, which tests set, asks for the check alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir as ir

from dtc.errors import StageError, one_line
from dtc.graph import save_model
from dtc.pipeline.work import Work
from dtc.scratch import scratch_folder

VERIFY = "DTC_VERIFY_STAGES"

Look = Callable[[str], None]


@contextmanager
def watched(work: Work) -> Iterator[Look]:
    """Yield a function that checks the model after the stage of the given name; without checks it does nothing."""
    if work.job.dump is not None:
        work.job.dump.mkdir(parents=True, exist_ok=True)
        yield _Watch(work, work.job.dump).look
    elif os.environ.get(VERIFY):
        with scratch_folder() as folder:
            yield _Watch(work, folder).look
    else:
        yield lambda _: None


class _Watch:
    """Writes and checks the model after each stage that changed it."""

    def __init__(self, work: Work, folder: Path) -> None:
        self._work, self._folder = work, folder
        self._passed: list[str] = []
        self._files = 0
        self._last = ""  # the first stage is written even where it has nothing to do: it is what others start with
        with scratch_folder() as loaded:
            path = loaded / work.original.name
            _save(work.model, path)
            refused = _refused(path)
        # Of a model that the checker refuses as it came, no stage can be told to have broken it.
        self._checks = refused is None
        if refused is not None:
            work.remarks.append(f"the model as it came does not pass ONNX's checker, so no stage is checked: {refused}")

    def look(self, stage: str) -> None:
        """Look at the model after a stage.

        Raises:
            StageError: The stage left a model that ONNX's checker refuses.
        """
        # Written first and compared after: a model has no cheaper digest than that of its file. Names are numbered by
        # files that stay: 01-normalise, 02-distort where stages between changed nothing.
        path = self._folder / f"{self._files + 1:02d}-{stage}.onnx"
        files = _save(self._work.model, path)
        found = _digest(files)
        if found == self._last:
            for file in files:
                file.unlink()
        else:
            self._last, self._files = found, self._files + 1
            self._check(path, stage)
        self._passed.append(stage)

    def _check(self, path: Path, stage: str) -> None:
        refused = _refused(path) if self._checks else None
        if refused is not None:
            before = f", after {', '.join(self._passed)}" if self._passed else ""
            raise StageError(f"{path}: stage {stage}{before}, left a model that ONNX's checker refuses: {refused}")


def _save(model: ir.Model, path: Path) -> tuple[Path, ...]:
    """Write a clone: writing a model sets its IR version, and a look changes nothing."""
    return save_model(model.clone(), path, force=True)


def _digest(files: tuple[Path, ...]) -> str:
    found = hashlib.sha256()
    # The digest of each file goes into the whole: external data may change where the graph does not.
    for each in files:
        with each.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _refused(path: Path) -> str | None:
    """Return on one line why ONNX's checker refuses a model file; None if it does not."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return one_line(error, 400)
    return None
