"""A check of the model after each stage by ONNX's checker, with all shapes inferred.

The check names the stage that breaks the graph, and not a later one that trips over it. `Job.dump` asks for the check
and keeps the files; the environment variable `DTC_VERIFY_STAGES`, which tests set, asks for the check alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from dtc.errors import StageError, one_line
from dtc.graph import model_message, save_model
from dtc.pipeline.work import Work
from dtc.scratch import scratch_folder

VERIFY = "DTC_VERIFY_STAGES"

Look = Callable[[str], None]


@contextmanager
def watched(work: Work) -> Iterator[Look]:
    """Yield a function that checks the model after the stage of the given name; without checks it does nothing."""
    if work.job.dump is not None:
        work.job.dump.mkdir(parents=True, exist_ok=True)
        with scratch_folder() as folder:
            refused = _refused(_files_in(folder)(work.model, work.original.name))
        yield _Watch(work, _files_in(work.job.dump), refused).look
    elif os.environ.get(VERIFY):
        yield _Watch(work, _in_memory, _refused(_in_memory(work.model, work.original.name))).look
    else:
        yield lambda _: None


@dataclass(frozen=True)
class _Taken:
    """A model at one moment, for ONNX's checker.

    Attributes:
        model: The path of its file, or its message.
        digest: Tells it from another.
        files: What was written of it.
    """

    model: str | bytes
    digest: str
    files: tuple[Path, ...] = ()


_Take = Callable[[ir.Model, str], _Taken]


def _files_in(folder: Path) -> _Take:
    """Return what writes a model into a folder."""

    def take(model: ir.Model, name: str) -> _Taken:
        # A clone, as writing a model sets its IR version, and a look changes nothing.
        files = save_model(model.clone(), folder / name, force=True)
        return _Taken(str(files[0]), _digest(files), files)

    return take


def _in_memory(model: ir.Model, name: str) -> _Taken:
    message = model_message(model, name)
    return _Taken(message, hashlib.sha256(message).hexdigest())


class _Watch:
    """Takes and checks the model after each stage that changed it; `refused` is what is said of it as it came."""

    def __init__(self, work: Work, take: _Take, refused: str | None) -> None:
        self._work, self._take = work, take
        self._passed: list[str] = []
        self._changes = 0
        self._last = ""  # the first stage is taken even where it has nothing to do: it is what others start with
        # Of a model that the checker refuses as it came, no stage can be told to have broken it.
        self._checks = refused is None
        if refused is not None:
            work.remarks.append(f"the model as it came does not pass ONNX's checker, so no stage is checked: {refused}")

    def look(self, stage: str) -> None:
        """Look at the model after a stage.

        Raises:
            StageError: The stage left a model that ONNX's checker refuses.
        """
        # Taken first and compared after: a model has no cheaper digest than that of its file. Names are numbered by
        # files that stay: 01-normalise, 02-distort where stages between changed nothing.
        taken = self._take(self._work.model, f"{self._changes + 1:02d}-{stage}.onnx")
        if taken.digest == self._last:
            for file in taken.files:
                file.unlink()
        else:
            self._last, self._changes = taken.digest, self._changes + 1
            self._check(taken, stage)
        self._passed.append(stage)

    def _check(self, taken: _Taken, stage: str) -> None:
        refused = _refused(taken) if self._checks else None
        if refused is not None:
            where = taken.files[0] if taken.files else self._work.original.name
            before = f", after {', '.join(self._passed)}" if self._passed else ""
            raise StageError(f"{where}: stage {stage}{before}, left a model that ONNX's checker refuses: {refused}")


def _digest(files: tuple[Path, ...]) -> str:
    found = hashlib.sha256()
    # The digest of each file goes into the whole: external data may change where the graph does not.
    for each in files:
        with each.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _refused(taken: _Taken) -> str | None:
    """Return on one line why ONNX's checker refuses a model; None if it does not."""
    try:
        onnx.checker.check_model(taken.model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return one_line(error, 400)
    return None
