"""The process that measures how much memory a model takes: load, one run, and what the system says.

`python -m dtc.memory_probe MODEL INPUTS.npz THREADS native|portable` writes the resident bytes before the
load and the peak after the run, as JSON. It is a process of its own because a peak cannot be taken back.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from dtc.session import runner, session


def main(arguments: list[str]) -> None:
    """Measure and write one line of JSON to the standard output."""
    model, inputs, threads, operators = arguments
    with np.load(inputs, allow_pickle=False) as archive:
        feed = {name: archive[name] for name in archive.files}
    idle = _resident("VmRSS")
    runner(session(model, threads=int(threads) or None, native=operators == "native"))(feed)
    sys.stdout.write(json.dumps({"idle": idle, "peak": _resident("VmHWM")}))


def _resident(field: str) -> int:
    """Return a field of /proc/self/status in bytes.

    Not getrusage: its peak begins with that of the parent process at the time of the fork.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(field)


if __name__ == "__main__":
    main(sys.argv[1:])
