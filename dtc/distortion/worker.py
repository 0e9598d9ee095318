"""A worker process: it distorts sites that are named on its standard input, one after the other, until that ends."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dtc.late_imports import LateImports
from dtc.storage import ArrayStore

if TYPE_CHECKING:
    from dtc.distortion.task import DistortedSite, SiteTask

_ORPHANED_AFTER = 1.0
"""Seconds between two looks at who the parent is."""


def main(folder: Path) -> None:
    """Serve until the standard input ends; the standard output has answers alone, whatever a method prints."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(BrokenPipeError), os.fdopen(os.dup(1), "wb") as answers:  # the parent is gone
        os.dup2(2, 1)
        serve(sys.stdin.buffer, answers, ArrayStore(folder))


def serve(tasks: BinaryIO, answers: BinaryIO, store: ArrayStore) -> None:
    """Answer each pickled task by a pickled result, or by the error that it ended in."""
    from dtc.distortion.task import carry_out

    while True:
        try:
            task: SiteTask = pickle.load(tasks)  # noqa: S301 - the parent's own
        except EOFError:
            return
        answer: DistortedSite | Exception
        try:
            answer = carry_out(task, store)
        except Exception as error:  # noqa: BLE001 - the parent raises it again
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


def _end_with(parent: int) -> None:
    # Its death is not seen in the middle of a site otherwise, and a site may take minutes.
    while os.getppid() == parent:
        time.sleep(_ORPHANED_AFTER)
    os._exit(1)


if __name__ == "__main__":
    LateImports().install()
    main(Path(sys.argv[1]))
