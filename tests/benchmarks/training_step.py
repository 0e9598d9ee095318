"""Time of a training step against PyTorch: `python tests/benchmarks/training_step.py --torch /path/to/python`.

A step is forward, backward and optimizer. Both sides take turns in short bursts, each in a process of its own that
sleeps while the other works. Then the share of the training time that one distortion every `--distort-every` steps
takes: svd of rank 96 on all sites of the medium model, with a worker's settings.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

from dtc.training.command import python_command
from dtc.training.engines.ort.install import VERSION, install

HERE = Path(__file__).parent
BURSTS = {"ptb-medium": 3, "lenet-5": 20}
"""Steps of a burst by model."""


class Side:
    """A process that runs bursts of steps on request."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def burst(self, name: str, steps: int) -> list[float]:
        """Return the seconds of each step."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{name} {steps}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args!r} ended")
        found: list[float] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def ours(threads: int) -> Side:
    """Start our side as a worker is started."""
    command = python_command("training_step_ort", first_on_path=[install(), HERE])
    return Side([*command.arguments, str(threads)], dict(command.environment))


def torch_version(python: str | None) -> str | None:
    """Return the version of the PyTorch of an interpreter, None where there is none."""
    if python is None:
        return None
    command = [python, "-c", "import torch; print(torch.__version__)"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def compare(sides: list[Side], name: str, bursts: int) -> list[float]:
    """Return the median seconds of a step of each side; the first burst of each is for warming up."""
    taken: list[list[float]] = [[] for _ in sides]
    for turn in range(bursts + 1):
        for side, times in zip(sides, taken, strict=True):
            # The first step of a burst finds the other side's data in the caches.
            found = side.burst(name, BURSTS[name] + 1)[1:]
            times.extend(found if turn else [])
    return [float(np.median(times)) for times in taken]


def main() -> None:
    """Print one line a model, and the share of the distortion."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", metavar="PYTHON", help="interpreter that has PyTorch")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--bursts", type=int, default=8, help="a model and side")
    parser.add_argument("--distort-every", type=int, default=100)
    chosen = parser.parse_args()
    found = torch_version(chosen.torch)
    write = sys.stdout.write
    versions = f"onnxruntime-training {VERSION}, numpy {importlib.metadata.version('numpy')}, Python "
    write(
        f"{_cpu()}, {chosen.threads} threads; {versions}{platform.python_version()}; PyTorch {found or 'not there'}\n"
    )
    if found is None:
        write(f"no PyTorch in {chosen.torch or 'an interpreter given by --torch'}: our side only\n")
    sides = [ours(chosen.threads)]
    if found is not None:
        sides.append(Side([chosen.torch, str(HERE / "training_step_torch.py"), str(chosen.threads)]))
    steps = {}
    for name in BURSTS:
        steps[name], *others = compare(sides, name, chosen.bursts)
        against = "".join(f", PyTorch {1e3 * other:.1f} ms: {steps[name] / other:.2f}x its time" for other in others)
        write(f"{name}: ort {1e3 * steps[name]:.1f} ms a step{against}\n")
    distortion = float(np.median(sides[0].burst("distortion", 6)[1:]))
    share = distortion / (distortion + chosen.distort_every * steps["ptb-medium"])
    write(f"distortion of ptb-medium, svd of rank 96: {1e3 * distortion:.0f} ms, {share:.1%} of the training time ")
    write(f"at one every {chosen.distort_every} steps\n")
    for side in sides:
        side.close()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
