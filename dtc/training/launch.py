"""Training in a worker process: started, followed, stopped."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtc import errors
from dtc.errors import Interrupted, TrainingError
from dtc.forms import Form
from dtc.training.best import load_best
from dtc.training.command import Command
from dtc.training.engine import Parameters
from dtc.training.engine_choice import Asked, by_able_engine
from dtc.training.engine_kind import EngineKind, engine_of
from dtc.training.evaluate import Score
from dtc.training.events import Event, Started, from_line
from dtc.training.run import Run, open_run
from dtc.training.work import SESSION, Assignment
from dtc.training.worker import ENDED, STOPPED

_POLL = 0.05
"""Seconds between two looks at the run."""


@dataclass(frozen=True)
class Result:
    """The result of a finished run.

    Attributes:
        run: The run directory.
        step: Steps trained.
        best_step: The step whose distorted weights are the result.
        score: Their score.
        distortions: Distortions done.
        seconds: Time spent in steps, distortions, evaluations, data, checkpoints.
    """

    run: Path
    step: int
    best_step: int
    score: Score
    distortions: int
    seconds: dict[str, float]

    @property
    def distortion_share(self) -> float:
        """Share of the training time that the distortions took."""
        return self.seconds["distortion"] / max(sum(self.seconds.values()), 1e-9)

    def load(self) -> tuple[Parameters, dict[str, tuple[Form, ...]], dict[str, str]]:
        """Return the best distorted parameters, their forms by site, and why other sites were left alone.

        Raises:
            TrainingError: The files are damaged.
        """
        return load_best(self.run / "best" / f"{self.best_step:09d}")


def train(folder: Path, *, on_event: Callable[[Event], None] | None = None, command: Command | None = None) -> Result:
    """Carry a run on to its end in a worker process.

    `on_event` is called with every event, and at once with what the run was started with. `command` is another
    worker than the one of the recipe's engine.

    Raises:
        Interrupted: Ctrl-C; the worker has written a checkpoint.
        RecipeError: The run trains nothing.
        DtcError: Whatever the worker raised.
        TrainingError: The worker died; the run can be resumed.
    """
    run = open_run(folder)
    _ = run.training  # refuses a run of a compression that trains nothing, before a worker is started
    tell = on_event or (lambda _: None)
    if command is not None:
        return _session(run, Asked(engine_of(run.recipe)), command, tell)
    return by_able_engine(run.recipe, lambda asked: _session(run, asked, asked.kind.command(), tell))


def _session(run: Run, asked: Asked, command: Command, tell: Callable[[Event], None]) -> Result:
    """Carry a run on in a worker process with one engine, which becomes that of the run with its first event."""
    # A name of its own for each session: files that an earlier worker left in the run are told from those of this one.
    session, decided = secrets.token_hex(8), run.training.engine is not None
    assignment = Assignment(engine=asked.kind.name, whole=asked.whole, remark=asked.remark)
    with _worker(run, command, session, assignment) as process:
        try:
            for event in _follow(run, process, session):
                if not decided:
                    run.reread().retold(engine=asked.kind.name)
                    decided = True
                tell(event)
        except KeyboardInterrupt:
            _stop(process)
            raise Interrupted(run.folder) from None
    status = process.returncode
    if status == STOPPED:
        raise Interrupted(run.folder)
    if status != ENDED:
        raise failure(run, asked.kind, status, session)
    return read_result(run)


def read_result(run: Run) -> Result:
    """Read the result of a finished run.

    Raises:
        TrainingError: The run has not come to its end.
    """
    try:
        facts: dict[str, Any] = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
        best = facts["best"]
        score = Score(**best["score"])
        return Result(run.folder, facts["step"], best["step"], score, facts["distortions"], facts["seconds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{run.folder}: the run has no result yet; resume it") from error


@contextmanager
def _worker(run: Run, command: Command, session: str, assignment: Assignment) -> Iterator[subprocess.Popen[bytes]]:
    """Start a worker that ends with this process: the worker watches its standard input, a pipe held open here."""
    with (run.folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [*command.arguments, str(run.folder), session, assignment.to_json()],
            env=dict(command.environment),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches us alone, and we tell the worker
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the worker to end after a checkpoint, and wait for it; a second Ctrl-C ends it at once."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait()
    except KeyboardInterrupt:
        process.kill()
        process.wait()


def _follow(run: Run, process: subprocess.Popen[bytes], session: str) -> Iterator[Event]:
    """Yield the events that the worker writes, until it ends."""
    # 1. Until the worker says where its events begin: those of an earlier session after its last checkpoint are taken
    #    back, so the file may still become shorter.
    ended = False
    while (offset := _session_offset(run, session)) is None:
        if ended:
            return
        ended = process.poll() is not None  # looked at once more after its end
        time.sleep(_POLL)
    with run.metrics.open("rb") as metrics:
        # 2. A run that goes on does not tell again what it was started with.
        if offset:
            first = from_line(metrics.readline().decode())
            if isinstance(first, Started):
                yield first
        # 3. Line by line; what comes after the last line break is still being written.
        metrics.seek(offset)
        pending = b""
        while True:
            # Asked before reading: what is written before the end is read after it.
            ended = process.poll() is not None
            *lines, pending = (pending + metrics.read()).split(b"\n")
            for line in lines:
                yield from_line(line.decode())
            if ended:
                return
            time.sleep(_POLL)


def _session_offset(run: Run, session: str) -> int | None:
    """Return the byte at which this session's events begin; None until the worker has written the number."""
    found = _read_of_session(run.folder / SESSION, session)
    return None if found is None else int(found["offset"])


def failure(run: Run, kind: EngineKind, status: int, session: str) -> errors.DtcError:
    """Return the error that the worker left in `error.json`, as an exception of the same class."""
    # 1. Nothing was told: the process was killed, as by the system where memory is short.
    told = _read_of_session(run.folder / "error.json", session)
    known = told is not None and bool(told["class"])
    if not known and (damage := kind.remove_damaged()):
        return errors.EngineError(f"{damage}; the next run, or dtc engine install, installs it again")
    if told is None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return TrainingError(f"{run.folder}: the worker {how}; resume the run, or see worker.log in it")
    # 2. An error for the user, raised again as the class that it was, so that exit statuses stay the same. An
    #    interruption is none: it would say that the user had stopped the run.
    error = getattr(errors, told["class"], None)
    if isinstance(error, type) and issubclass(error, errors.DtcError) and error is not Interrupted:
        return error(told["message"])
    # 3. Anything else is a mistake in the program; its traceback is in the log.
    return TrainingError(f"{run.folder}: the worker failed ({told['message']}); see worker.log in it")


def _read_of_session(path: Path, session: str) -> dict[str, Any] | None:
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if facts.get("session") == session else None
