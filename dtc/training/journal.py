"""The files that a running run writes: events, checkpoints, the best weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import IO, Protocol, Self

from dtc.errors import TrainingError
from dtc.passes.plan import Distorted
from dtc.training.best import Best, save_best
from dtc.training.engine import Live
from dtc.training.events import Event, Noted, to_line
from dtc.training.progress import Progress
from dtc.training.run import Run
from dtc.training.session import Session
from dtc.training.snapshot import Snapshot, drop_unfinished, finished, load_facts

KEPT = 2
"""Checkpoints on disk: the newest, and one before it in case that one is damaged."""


class Recorder(Protocol):
    """What the training loop writes to."""

    def log(self, event: Event) -> None:
        """Write an event."""

    def checkpoint(self, session: Session) -> None:
        """Save the session."""

    def keep_best(self, best: Best, parameters: Live, distorted: Distorted) -> None:
        """Save the best weights so far, which are distorted."""


class Journal:
    """The record of one session, in its run directory.

    Attributes:
        offset: Bytes of events that were there when the session began; 0 where it is the first.
    """

    def __init__(self, run: Run, metrics: IO[bytes]) -> None:
        self._run, self._metrics = run, metrics
        self.offset = metrics.tell()

    @classmethod
    def open(cls, run: Run, snapshot: Snapshot) -> Self:
        """Open the record of a session that continues from `snapshot`, the newest whole checkpoint.

        Events and checkpoints after the snapshot are deleted, because the session will write them again; damage of
        newer checkpoints becomes an event.
        """
        step = _step_of(snapshot)
        # 1. What a session that died left half-written goes.
        for folder in (run.checkpoints, run.best):
            folder.mkdir(exist_ok=True)
            drop_unfinished(folder)
        # 2. Checkpoints after the one that is gone on from: they are damaged, or `newest` would have chosen one of
        #    them. Without any whole checkpoint the run begins anew, and all of them go.
        for newer in finished(run.checkpoints):
            if int(newer.name) > step or not snapshot:
                shutil.rmtree(newer)
        # 3. Events after the checkpoint are cut off: its steps are taken again, and would be told twice. A checkpoint
        #    at byte 5000 and a file of 5800 bytes: 800 go. A file of 4000 bytes has lost some, which is noted.
        offset, complaints = snapshot.facts.get("metrics", 0), list(snapshot.complaints)
        journal = cls(run, _open_at(run.metrics, offset))
        if journal.offset < offset:
            complaints.append(f"{run.metrics}: events are missing")
        for complaint in complaints:
            journal.log(Noted(step, f"{complaint}; going on from step {step}"))
        return journal

    def close(self) -> None:
        """Close the file of events."""
        self._metrics.close()

    def log(self, event: Event) -> None:
        """Write an event, flushed."""
        self._metrics.write(to_line(event).encode() + b"\n")
        self._metrics.flush()

    def checkpoint(self, session: Session) -> None:
        """Save the session, whole or not at all; forget all but the last `KEPT` checkpoints.

        Raises:
            TrainingError: A parameter is not finite, or nothing can be written.
        """
        # The order makes every moment safe: events on the disk, then the checkpoint that counts them, then older ones
        # go.
        taken, progress = session.snapshot(), session.progress
        facts = {**taken.facts, "metrics": self._metrics.tell()}
        # Events that the checkpoint counts on must be on the disk before it is.
        os.fsync(self._metrics.fileno())
        Snapshot(taken.arrays, facts).save(self._run.checkpoints / f"{progress.step:09d}")
        for old in finished(self._run.checkpoints)[:-KEPT]:
            shutil.rmtree(old)
        self._forget_bests(progress)

    def keep_best(self, best: Best, parameters: Live, distorted: Distorted) -> None:
        """Save `parameters`, which are distorted now, and the forms that these weights were made from."""
        save_best(self._run.best / f"{best.step:09d}", parameters, distorted)

    def _forget_bests(self, progress: Progress) -> None:
        """Delete all best weights but those of the checkpoints on disk: a checkpoint refers to its best weights."""
        # With checkpoints at step 100 (best: 80) and 200 (best: 200), the weights of 80 and 200 stay: should 200 prove
        # damaged, the run goes on from 100, whose best is 80. Of the newest the progress in memory tells, so it is not
        # read.
        wanted = {f"{progress.best.step:09d}"} if progress.best else set()
        for path in finished(self._run.checkpoints)[:-1]:
            try:
                best = load_facts(path)["progress"]["best"]
            except TrainingError:
                continue  # it is passed over when it is read, too
            wanted |= {f"{best['step']:09d}"} if best else set()
        for path in finished(self._run.best):
            if path.name not in wanted:
                shutil.rmtree(path)


def _step_of(snapshot: Snapshot) -> int:
    return int(snapshot.facts["progress"]["step"]) if snapshot else 0


def _open_at(path: Path, offset: int) -> IO[bytes]:
    """Open the events for writing after the first `offset` bytes."""
    # Not "ab": truncation and the writes after it are to follow each other in one file object, and `tell` is the offset
    # that the next checkpoint remembers.
    file = path.open("r+b" if path.exists() else "w+b")
    file.truncate(min(offset, path.stat().st_size))
    file.seek(0, os.SEEK_END)
    return file
