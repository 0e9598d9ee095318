"""The frame of a worker process: signals, its parent's death, and errors told as JSON."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from dtc.errors import DtcError
from dtc.training.snapshot import write_json
from dtc.training.work import TRAIN, Assignment, Tools, leave_gradients, work

ENDED, FAILED, STOPPED = 0, 1, 3
"""Exit statuses of a worker."""


def main(folder: Path, session: str, tools: Tools | None = None, assignment: Assignment = TRAIN) -> int:
    """Work on a run, and return an exit status; an error is left in `error.json`.

    SIGINT, SIGTERM and, where there is a `session`, the end of standard input (which the parent holds open) stop
    the run after a checkpoint at the next step.
    """
    stop = threading.Event()
    # A signal may come in the middle of an update, so it only leaves word; the loop looks after each step.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if session:
        threading.Thread(target=_watch_parent, args=(stop,), daemon=True).start()
    try:
        tools = tools or Tools()
        if assignment.job == "gradients":
            leave_gradients(folder, tools, assignment)
            return ENDED
        return (
            ENDED if work(folder, tools, should_stop=stop.is_set, session=session, assignment=assignment) else STOPPED
        )
    # Two kinds of errors: those with words for the user keep their class, all others are told without one.
    except DtcError as error:
        _tell(folder, session, type(error).__name__, str(error))
    except BaseException as error:  # noqa: BLE001 - the parent is told of everything
        traceback.print_exc(file=sys.stderr)
        _tell(folder, session, "", f"{type(error).__name__}: {error}")
    return FAILED


def _watch_parent(stop: threading.Event) -> None:
    # Nothing is ever sent. The read returns empty when the parent closes its end, or when it dies in whatever way.
    while os.read(0, 1024):
        pass
    stop.set()


def _tell(folder: Path, session: str, kind: str, message: str) -> None:
    if folder.is_dir():
        write_json(folder / "error.json", {"session": session, "class": kind, "message": message})
