"""A pool of worker processes that distort sites, and outlives each of them."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from dtc.cores import ONE_THREAD
from dtc.distortion.task import DistortedSite, SiteTask
from dtc.errors import ModelError

ATTEMPTS = 3
"""How often a site is tried whose worker dies."""


class SiteWorkers:
    """Worker processes, started when they are first needed; at the end of a `with` none is left.

    Args:
        count: Of processes.
        folder: Where they leave arrays.
    """

    def __init__(self, count: int, folder: Path) -> None:
        self._workers = [_Worker(folder) for _ in range(count)]
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:  # once no thread asks any more
            worker.close()

    def results(self, tasks: Sequence[SiteTask]) -> Iterator[DistortedSite]:
        """Yield what comes of each task, in their order.

        Raises:
            DtcError: What the first task in that order raised that raised something.
            ModelError: The worker of a site died, several times.
        """
        waiting = [self._threads.submit(self._result, task) for task in tasks]
        for future in waiting:
            yield future.result()

    def _result(self, task: SiteTask) -> DistortedSite:
        worker = self._free.get()
        try:
            for _ in range(ATTEMPTS):
                answer = worker.ask(task)
                if isinstance(answer, DistortedSite):
                    return answer
                if answer is not None:
                    raise answer
        finally:
            self._free.put(worker)
        raise ModelError(
            f"weight {task.site!r}: its process ended {ATTEMPTS} times ({worker.ended}), most likely for want of "
            "memory; give fewer --workers, or leave this weight out (--exclude)"
        )


class _Worker:
    """A process, or the next one after its death."""

    def __init__(self, folder: Path) -> None:
        self.ended = ""
        self._folder, self._over = folder, False
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, task: SiteTask) -> DistortedSite | Exception | None:
        """Return what comes of a task, or the error that it ended in; None where the process died of it."""
        if self._over:
            return ModelError("the work was stopped")
        process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(task, process.stdin)
            process.stdin.flush()
            answer: DistortedSite | Exception = pickle.load(process.stdout)  # noqa: S301 - our own process
        except (EOFError, OSError, pickle.UnpicklingError):
            self.close()
            self.ended = _words(process.wait())
            return None
        return answer

    def end(self) -> None:
        """End the process, whatever it does; who asks it then is told that it died."""
        self._over, process = True, self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Let go of the process, which is dead or dies of it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what was not sent yet
                if stream is not None:
                    stream.close()

    def _started(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dtc.distortion.worker", str(self._folder)],
            env=_environment(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end the worker
        )
        if self._over:  # meanwhile
            self._process.kill()
        return self._process


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker: modules are found where they are found here."""
    return {**given, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **ONE_THREAD}


def _words(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
