"""The command that starts a worker process: the Python that runs the worker, its `sys.path` and its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dtc.cores import ONE_THREAD


@dataclass(frozen=True)
class Command:
    """The arguments and the environment of a worker: the run and the session's name are added as the last arguments."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def python_command(module: str, *, first_on_path: Sequence[Path]) -> Command:
    """Return the command that runs `module` in this Python with this dtc, `first_on_path` first on its `sys.path`.

    Nothing is imported from the working directory (`-P`). The linear algebra of the distortions keeps to one thread:
    the engine's threads spin while they wait, and a second pool on the same cores made a distortion take thirty times
    as long. Threads of OpenMP (PyTorch's) wait for some 0.1 ms and then sleep, unless the user's environment has a
    policy: on a machine that other work shares, spinning made a step take up to seven times as long; on a machine of
    its own, sleeping at once cost a small network 6 % of its step.
    """
    # The engine's packages stand before everything else: its own build of ONNX Runtime must win over the user's.
    paths = [*map(str, first_on_path), str(Path(__file__).resolve().parents[2])]
    if "PYTHONPATH" in os.environ:
        paths.append(os.environ["PYTHONPATH"])
    waiting = {} if "OMP_WAIT_POLICY" in os.environ else {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}
    environment = {**waiting, **os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths)}
    return Command((sys.executable, "-P", "-m", module), environment)
