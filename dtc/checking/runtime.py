"""Other runtimes: which there are, and running a model file in one of them.

A runtime runs in a process of its own, since some of them abort where they fail, and under the interpreter of whatever
environment has it: what needs an older NumPy, or is an older ONNX Runtime, has an environment of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import dtc.checking.runtimes
from dtc.checking import runtime_worker
from dtc.errors import UsageError
from dtc.registry import collect

TIME_LIMIT = 120.0
"""Seconds for loading a model and running it a few times."""


class RefusedError(Exception):
    """A runtime does not run a model; the message says in its words why.

    Attributes:
        version: Of its package; empty where that is not known.
    """

    def __init__(self, message: str, version: str = "") -> None:
        super().__init__(message)
        self.version = version


@dataclass(frozen=True)
class Ran:
    """What a runtime gave.

    Attributes:
        version: Of its package; empty where that is not known.
        outputs: Arrays by name, of each run.
    """

    version: str
    outputs: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Runtime:
    """A runtime, and the interpreter that has it.

    Attributes:
        name: As the command line has it.
        package: What pip installs.
        module: What is imported of it.
        source: The file of its module in `dtc.checking.runtimes`.
        python: The interpreter.
    """

    name: str
    package: str
    module: str
    source: Path
    python: str = sys.executable

    def require(self) -> None:
        """Raise UsageError if the interpreter does not have the runtime."""
        find = f"import sys, importlib.util as u; sys.exit(3 * (u.find_spec({self.module!r}) is None))"
        try:
            status = subprocess.run(
                [self.python, "-c", find], check=False, capture_output=True, env=self._environment()
            ).returncode
        except OSError as error:
            raise UsageError(f"--runtime {self.name}@{self.python}: no interpreter ({error.strerror})") from error
        if status:
            where = "" if self.python == sys.executable else f"{self.python} -m "
            raise UsageError(f"--runtime {self.name}: is not installed; {where}pip install {self.package}")

    def run(
        self, model: Path, feeds: Sequence[Mapping[str, Any]], outputs: Sequence[str], limit: float = TIME_LIMIT
    ) -> Ran:
        """Run a model file on one feed after the other, all of the same inputs.

        Raises:
            RefusedError: It does not run it, ends the process, or takes longer than `limit` seconds.
        """
        with tempfile.TemporaryDirectory(prefix="dtc-runtime-") as name:
            folder = Path(name)
            inputs = list(feeds[0])
            arrays: dict[str, Any] = {}
            for run, feed in enumerate(feeds):
                arrays |= {f"{run}.{index}": _plain(feed[each]) for index, each in enumerate(inputs)}
            np.savez(folder / "feeds.npz", **arrays)
            job = {"model": str(model.resolve()), "inputs": inputs, "outputs": list(outputs), "runs": len(feeds)}
            (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
            self._start(folder, limit)
            told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
            if "error" in told:
                raise RefusedError(told["error"], told["version"])
            with np.load(folder / "outputs.npz") as found:
                runs = tuple(
                    {name: found[f"{run}.{index}"] for index, name in enumerate(outputs)} for run in range(len(feeds))
                )
        return Ran(told["version"], runs)

    def _start(self, folder: Path, limit: float) -> None:
        """Start the worker and wait for what it tells.

        Raises:
            RefusedError: It told nothing.
        """
        command = [self.python, runtime_worker.__file__, str(self.source), str(folder)]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, timeout=limit, cwd=folder, env=self._environment()
            )
        except subprocess.TimeoutExpired as error:
            raise RefusedError(f"took longer than {limit:.0f} s") from error
        if (folder / "told.json").is_file():
            return
        if done.returncode < 0:
            raise RefusedError(f"ended the process ({signal.Signals(-done.returncode).name})")
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RefusedError(f"ended with status {done.returncode} {' '.join(last)}".strip()[:300])

    def _environment(self) -> dict[str, str]:
        """Return the environment of the process: another interpreter does not look into this one's folders."""
        mine = self.python == sys.executable
        return {name: value for name, value in os.environ.items() if mine or name not in ("PYTHONPATH", "PYTHONHOME")}


def _plain(value: Any) -> Any:
    """Return an array as a file holds it without code: strings in an array of their own type."""
    array = np.asarray(value)
    return array.astype(str) if array.dtype.kind == "O" else array


@cache
def runtimes() -> dict[str, Runtime]:
    """Return every runtime by name; a name taken twice is loud."""
    return collect(dtc.checking.runtimes, _offered, "runtimes")


def find_runtime(told: str) -> Runtime:
    """Return the runtime of `NAME`, or of `NAME@PYTHON` for one that another interpreter has.

    Raises:
        UsageError: There is no such runtime, or it is not installed.
    """
    name, _, python = told.partition("@")
    if name not in runtimes():
        raise UsageError(f"--runtime: none is called {name!r}; there are: {', '.join(sorted(runtimes()))}")
    known = runtimes()[name]
    runtime = Runtime(known.name, known.package, known.module, known.source, python or known.python)
    runtime.require()
    return runtime


def _offered(module: ModuleType) -> Iterator[tuple[str, Runtime]]:
    assert module.__file__ is not None
    yield module.NAME, Runtime(module.NAME, module.PACKAGE, module.MODULE, Path(module.__file__))
