"""Time of a training step of each engine against hand-written PyTorch: `python tests/benchmarks/training_step.py`.

A step is forward, backward and optimizer. All sides take turns in short bursts, each in a process of its own that
sleeps while the others work. Beside seconds stand CPU seconds, which say more on a machine that other work shares
(with a GPU, `--device cuda`, they mean little). Then the share of the training time that one distortion every
`--distort-every` steps takes: svd of rank 96 on all sites of the medium model, with a worker's settings.
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

from dtc.recipe import Data, Recipe, Training
from dtc.training.command import python_command
from dtc.training.engine_kind import EngineKind, ranked_engines

HERE = Path(__file__).parent
BURSTS = {"ptb-medium": 3, "lenet-5": 20}
"""Steps of a burst by model."""


class Side:
    """A process that runs bursts of steps on request."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def burst(self, name: str, steps: int) -> list[tuple[float, float]]:
        """Return the seconds and the CPU seconds of each step."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{name} {steps}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args!r} ended")
        found: list[tuple[float, float]] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def side_of(engine: EngineKind, threads: int, device: str) -> Side:
    """Start the side of an engine as a worker is started."""
    command = python_command("training_step_engine", first_on_path=[*engine.install(), HERE])
    return Side([*command.arguments, engine.name, str(threads), device], dict(command.environment))


def torch_version(python: str) -> str | None:
    """Return the version of the PyTorch of an interpreter, None where there is none."""
    command = [python, "-c", "import torch; print(torch.__version__)"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def compare(sides: list[Side], name: str, bursts: int) -> list[np.ndarray]:
    """Return the median seconds and CPU seconds of a step of each side; the first burst of each is for warming up."""
    taken: list[list[tuple[float, float]]] = [[] for _ in sides]
    for turn in range(bursts + 1):
        for side, times in zip(sides, taken, strict=True):
            # The first step of a burst finds the other side's data in the caches.
            found = side.burst(name, BURSTS[name] + 1)[1:]
            times.extend(found if turn else [])
    return [np.median(times, axis=0) for times in taken]


def main() -> None:
    """Print one line a model and engine, and the share of the distortion."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", metavar="PYTHON", default=sys.executable, help="interpreter that has PyTorch")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--bursts", type=int, default=8, help="a model and side")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", action="append", choices=list(BURSTS), help="repeatable (default: all)")
    parser.add_argument("--distort-every", type=int, default=100)
    chosen = parser.parse_args()
    found, asked = torch_version(chosen.torch), Recipe(data=Data(train="-"), training=Training(device=chosen.device))
    engines = [kind for kind in ranked_engines() if kind.unavailable() is None and kind.refuse(asked) is None]
    write = sys.stdout.write
    versions = f"numpy {importlib.metadata.version('numpy')}, Python {platform.python_version()}"
    titles = ", ".join(kind.title for kind in engines)
    machine = f"{_cpu()}, {chosen.threads} threads, {chosen.device}"
    write(f"{machine}; {titles}; {versions}; by hand: PyTorch {found or 'not there'}\n")
    sides = [side_of(kind, chosen.threads, chosen.device) for kind in engines]
    if found is not None:
        sides.append(Side([chosen.torch, str(HERE / "training_step_torch.py"), str(chosen.threads), chosen.device]))
    steps = {}
    for name in chosen.model or BURSTS:
        steps[name], hand = compare(sides, name, chosen.bursts), ""
        for kind, own in zip(engines, steps[name], strict=False):
            if found is not None:
                seconds, used = own / steps[name][-1]
                hand = f", PyTorch by hand {_told(steps[name][-1])}: {seconds:.2f}x its time, {used:.2f}x its CPU time"
            write(f"{name}: {kind.name} {_told(own)} a step{hand}\n")
    if "ptb-medium" in steps and chosen.device == "cpu":
        distortion = float(np.median(sides[0].burst("distortion", 6)[1:], axis=0)[0])
        share = distortion / (distortion + chosen.distort_every * steps["ptb-medium"][0][0])
        write(
            f"distortion of ptb-medium, svd of rank 96: {1e3 * distortion:.0f} ms, {share:.1%} of the training time of "
        )
        write(f"{engines[0].name} at one every {chosen.distort_every} steps\n")
    for side in sides:
        side.close()


def _told(taken: np.ndarray) -> str:
    seconds, used = 1e3 * taken
    return f"{seconds:.1f} ms (CPU {used:.1f} ms)"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
