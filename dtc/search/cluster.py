"""The evaluations of a search on a Ray cluster; the package `ray` is needed for this alone.

P. Moritz et al.: Ray: a distributed framework for emerging AI applications, 2018 (arXiv 1712.05889).

Tasks are the same as in processes of one machine, and so are their results: each has one thread, and depends on nothing
but what its key says. A task that is lost with its node is begun again on another one. All nodes have to see the files
of the search at the same paths, as in a folder that they share: model, data and the folder of the search.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stdout
from typing import Any

from dtc.cores import BLAS_THREADS
from dtc.errors import UsageError
from dtc.search.lab import Lab, Setting
from dtc.search.tasks import Task, outcome
from dtc.session import THREADS


class RayTasks:
    """Tasks on a cluster."""

    def __init__(self, remote: Any, setting: Any) -> None:
        self._remote, self._setting = remote, setting

    def submit(self, task: Task, /) -> Future[dict[str, Any]]:
        """Begin a task on whatever node has a core free."""
        future: Future[dict[str, Any]] = self._remote.remote(self._setting, task).future()
        return future


@contextmanager
def ray_cluster(setting: Setting, address: str) -> Iterator[RayTasks]:
    """Yield the cluster at an address: `auto` for the one that this machine belongs to, or `HOST:PORT` of its head.

    Raises:
        UsageError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError("--ray needs the package ray: pip install 'dtc[ray]'") from error
    environment = {"env_vars": dict.fromkeys((*BLAS_THREADS, THREADS), "1")}
    try:
        ray.init(address=address, runtime_env=environment, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"--ray {address}: no cluster answers ({reason}); begin one with: ray start --head") from error
    # Ray prints what becomes of its nodes, which is no output of a search.
    with redirect_stdout(sys.stderr):
        try:
            # -1: begun again as often as nodes are lost.
            remote = ray.remote(num_cpus=1, max_retries=-1)(_run)
            yield RayTasks(remote, ray.put(setting))
        finally:
            ray.shutdown()


_labs: dict[str, Lab] = {}
"""The lab of this worker process, by the folder of its search; one at a time."""


def _run(setting: Setting, task: Task) -> dict[str, Any]:
    name = str(setting.folder)
    if name not in _labs:
        _labs.clear()
        _labs[name] = Lab(setting)
    return outcome(task, _labs[name])
