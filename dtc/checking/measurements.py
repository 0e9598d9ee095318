"""The cost of running a model on this machine: latency and memory of runs that a caller chooses.

Nothing here says whether a model is right: `dtc.checking.candidate` does; `dtc.checking.benchmark` sets costs side by
side.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtc.cores import cores
from dtc.document import DocumentPart
from dtc.errors import ModelError
from dtc.scratch import scratch_folder

MEASURED_SESSION = {"session.force_spinning_stop": "1"}
"""Settings of sessions that are measured in turns: the idle threads of one must not take the cores of the other."""

_BURST = 5
_ROUNDS = 3


class Latency(DocumentPart):
    """Seconds of one run: the median and the 10th and 90th percentile of `runs` runs."""

    median: float
    p10: float
    p90: float
    runs: int


class Memory(DocumentPart):
    """Resident bytes of a process: before it loaded the model, and the peak over the load and one run."""

    idle: int
    peak: int

    @property
    def taken(self) -> int:
        """Bytes that the model added: peak less idle."""
        return max(0, self.peak - self.idle)


def measure_latency(runs: Sequence[Callable[[], object]], *, seconds: float) -> list[Latency]:
    """Time several functions in turns, within about `seconds` for all of them together.

    They take turns in bursts, first one first, then the other one, so that a change in the machine's speed meets all
    alike; the first run of a burst, which finds the caches full of another's data, is not counted.
    """
    taken: list[list[float]] = [[] for _ in runs]
    # Two runs of each before the clock starts: the first allocates, and may still choose algorithms.
    for run in runs:
        run()
        run()
    begin = time.perf_counter()
    turn = 0
    # At least three rounds, however slow the models are.
    while turn < _ROUNDS or time.perf_counter() - begin < seconds:
        order = list(range(len(runs)))
        # Rounds A B, B A, A B: neither model is always the one behind the other.
        for index in order if turn % 2 == 0 else reversed(order):
            runs[index]()
            for _ in range(_BURST):
                start = time.perf_counter()
                runs[index]()
                taken[index].append(time.perf_counter() - start)
                # A slow model is run once a round, not in bursts: five runs of it would eat half of the time.
                if taken[index][-1] > seconds / 10:
                    break
        turn += 1
    return [_latency(times) for times in taken]


def measure_memory(
    path: str | Path,
    inputs: Mapping[str, Any],
    *,
    threads: int | None = None,
    native: bool = True,
    called: str | None = None,
) -> Memory | None:
    """Return the memory, in bytes, of loading and running a model in a new process; None outside of Linux.

    It is not measured either where an input is no tensor. `native` and `called` as for
    `dtc.session.session`.

    Raises:
        ModelError: The model cannot be loaded or run there, or takes more than two minutes.
    """
    if not Path("/proc/self/status").exists() or not all(isinstance(each, np.ndarray) for each in inputs.values()):
        return None
    # A process of its own, because memory that one model freed is seldom given back: the second would seem to take
    # none. The process imports this very dtc, whatever is installed.
    root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with scratch_folder() as folder:
        feed = folder / "inputs.npz"
        with feed.open("wb") as file:
            # Strings are stored in NumPy's own type, which needs no pickle.
            arrays = {name: each.astype(str) if each.dtype == object else each for name, each in inputs.items()}
            np.savez(file, allow_pickle=False, **arrays)
        command = [sys.executable, "-P", "-m", "dtc.memory_probe", str(Path(path).resolve()), str(feed)]
        try:
            result = subprocess.run(
                [*command, str(threads or 0), "native" if native else "portable"],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
                env=os.environ | {"PYTHONPATH": search},
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{called or path}: loading and one run take more than two minutes") from error
    if result.returncode != 0:
        known = called or str(path)
        reason = (result.stderr.splitlines() or ["killed"])[-1].replace(str(Path(path).resolve()), known)
        raise ModelError(f"{known}: its memory cannot be measured ({reason})")
    return Memory(**json.loads(result.stdout))


def machine() -> str:
    """Return the processor and the number of cores that this process may use."""
    return f"{_processor()}, {cores()} cores, {platform.system()} {platform.machine()}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _latency(times: Sequence[float]) -> Latency:
    p10, median, p90 = np.percentile(times, [10, 50, 90])
    return Latency(median=float(median), p10=float(p10), p90=float(p90), runs=len(times))
