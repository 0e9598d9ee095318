"""Worker processes of a search on this machine, and the evaluations that they make, each kept in the journal."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from dtc.cores import BLAS_THREADS
from dtc.errors import TrainingError
from dtc.search.journal import EvaluationJournal
from dtc.search.lab import Lab, Setting
from dtc.search.tasks import Task, outcome
from dtc.session import THREADS


class TimeUpError(Exception):
    """The time that a search was given has passed."""


class Executor(Protocol):
    """Whatever runs tasks: processes of this machine, or a cluster."""

    def submit(self, task: Task, /) -> Future[dict[str, Any]]:
        """Begin a task, or put it behind those that were begun."""
        ...


@dataclass(frozen=True)
class TaskDone:
    """An evaluation was made, number `done` of `total` of the same stage."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class BestSoFar:
    """The best file by now, in words, and whether it reaches the goal."""

    words: str
    reaches: bool


@dataclass(frozen=True)
class Measuring:
    """What is measured once for all candidates, and takes its time."""

    words: str


@dataclass(frozen=True)
class Announced:
    """What is to be known before all that takes time, such as by what a loss is judged."""

    words: str


SearchEvent: TypeAlias = TaskDone | BestSoFar | Measuring | Announced


@dataclass
class Evaluations:
    """Makes evaluations that the journal does not hold, and keeps what they find.

    Attributes:
        journal: What was found before.
        executor: Runs tasks.
        deadline: Moment of the monotonic clock after which none is begun; None: no limit.
        tell: Is told after each evaluation.
    """

    journal: EvaluationJournal
    executor: Executor
    deadline: float | None = None
    tell: Callable[[SearchEvent], None] = field(default=lambda _: None)

    def all(self, stage: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """Return what tasks find, in their order, whoever makes them and in which order they end.

        Raises:
            TimeUpError: The time has passed before all were made; what was found is in the journal.
            TrainingError: A worker has died.
        """
        missing = [task for task in tasks if self.journal.find(task.key) is None]
        # Twins are made once.
        missing = list({task.key: task for task in missing}.values())
        if missing and self._is_late():
            raise TimeUpError
        running = {self.executor.submit(task): task for task in missing}
        done = len(tasks) - len(missing)
        while running:
            ended, _ = wait(running, timeout=self._left(), return_when=FIRST_COMPLETED)
            if not ended:
                self._give_up(running)
            for future in ended:
                self.journal.add(running.pop(future).key, _found(future))
                done += 1
                self.tell(TaskDone(stage, done, len(tasks)))
        return [self._kept(task) for task in tasks]

    def _kept(self, task: Task) -> dict[str, Any]:
        found = self.journal.find(task.key)
        assert isinstance(found, dict), "it was made above"
        return found

    def _left(self) -> float | None:
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

    def _is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def _give_up(self, running: dict[Future[dict[str, Any]], Task]) -> None:
        """Take back what has not begun, wait for and keep what has."""
        for future in [each for each in running if each.cancel()]:
            del running[future]
        for future, task in running.items():
            self.journal.add(task.key, _found(future))
        raise TimeUpError


def _found(future: Future[dict[str, Any]]) -> dict[str, Any]:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise TrainingError(
            "a worker of the search has died, as for want of memory; the same command goes on where it was, "
            "with fewer --workers if memory was short"
        ) from error


class LocalProcesses:
    """Processes on this machine, each with one thread: results are the same for any number of them."""

    def __init__(self, setting: Setting, pool: ProcessPoolExecutor) -> None:
        self._pool = pool
        self._setting = setting

    def submit(self, task: Task, /) -> Future[dict[str, Any]]:
        """Begin a task."""
        return self._pool.submit(_run, task)


@contextmanager
def local_processes(setting: Setting, workers: int) -> Iterator[LocalProcesses]:
    """Yield processes that end with this one, however it ends."""
    # Threads are counted when a process begins: with one each, sums are the same on every machine.
    names = (*BLAS_THREADS, THREADS)
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_open, initargs=(setting,))
    try:
        yield LocalProcesses(setting, pool)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_labs: dict[str, Lab] = {}
"""The lab of this worker process, once it is open."""


def _open(setting: Setting) -> None:
    """Prepare this process as a worker: Ctrl-C is its parent's business, and it ends when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _labs["own"] = Lab(setting)


def _run(task: Task) -> dict[str, Any]:
    return outcome(task, _labs["own"])


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "workers are started by a parent"
    parent.join()
    os._exit(1)
