"""The cores that this process may use, and what keeps processes that share them out of each other's way."""

from __future__ import annotations

import os
from collections.abc import Mapping

BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Environment variables by which libraries of linear algebra are told how many threads to have."""

ONE_THREAD: Mapping[str, str] = dict.fromkeys(BLAS_THREADS, "1")
"""Of each process: several threads may round sums otherwise than one does, and would wait for each other."""


def cores() -> int:
    """Return how many there are: a container or `taskset` may leave fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
