"""Kills at random moments: `python tests/fuzz/kills.py [COUNT [SEED]]`.

Each run compresses a model, with and without external data, onto an older output or where there is none, with `--force`
and without, and is killed after a random time by SIGKILL, SIGTERM or SIGHUP. Then the output has to be the older one or
the new one, byte for byte, and the model what it was; after the next run, which is left alone, nothing else may lie in
the folder.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

import dtc.graph.save
from dtc.cli import main as run_dtc

SIDE = 128
SIGNALS = ("SIGKILL", "SIGKILL", "SIGTERM", "SIGHUP")
OLD, NEW = "prune --sparsity 0.9", "uniform --bits 4"

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Kind:
    """What is killed: a run with external data or without, onto an older output or none, with `--force` or without."""

    external: bool
    older: bool
    force: bool


KINDS = [Kind(*each) for each in itertools.product((True, False), repeat=3)]


@dataclass
class Kills:
    """Counts of what was there after the kills, and what was wrong."""

    endings: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)


def try_kills(count: int, folder: Path, seed: int = 0) -> Kills:
    """Return what came of `count` kills in an empty folder."""
    dice, kills = random.Random(seed), Kills()
    outputs = {external: _references(folder, external=external) for external in (True, False)}
    for number in range(count):
        kind, name = KINDS[number % len(KINDS)], SIGNALS[number // len(KINDS) % len(SIGNALS)]
        given, before, after, seconds = outputs[kind.external]
        _clear(folder)
        _write(folder, given)
        if kind.older:
            _write(folder, before)
        _killed(folder, kind, dice.uniform(0, 1.2 * seconds), getattr(signal, name))
        told = f"kill {number}, {kind}, {name}"
        there = _files(folder)
        kills.found += [f"{told}: {each}" for each in _lost(there, given, "the model")]
        kills.found += _strangers(there, (given, before, after), told) if name != "SIGKILL" else []
        ending = _ending(there, before if kind.older else {}, after)
        kills.endings[ending] += 1
        kills.found += [f"{told}: the output is {ending}"] if ending == "torn" else []
        # The next run removes what the killed one had no time to.
        _whole(folder, NEW, external=kind.external)
        there = _files(folder)
        kills.found += _lost(there, after, f"{told}: the next output")
        kills.found += _strangers(there, (given, after), f"{told}: after the next run")
    return kills


def _references(folder: Path, *, external: bool) -> tuple[Files, Files, Files, float]:
    """Return the files of the model, of its older output and of its new one, and the seconds that the new one takes."""
    _clear(folder)
    _write_model(folder / "m.onnx", external=external)
    given, made = _files(folder), []
    for method in (OLD, NEW):
        begin = time.perf_counter()
        _whole(folder, method, external=external)
        made.append({name: content for name, content in _files(folder).items() if name not in given})
    return given, made[0], made[1], time.perf_counter() - begin


def _write_model(path: Path, *, external: bool) -> None:
    text = f"m (float[1, {SIDE}] x) => (float[1, {SIDE}] y) {{ a = MatMul(x, V)  b = Relu(a)  y = MatMul(b, W) }}"
    model = parser.parse_model('<ir_version: 8, opset_import: ["": 17]>\n' + text)
    for name in ("V", "W"):
        array = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, path, save_as_external_data=external, location="weights.bin")


def _whole(folder: Path, method: str, *, external: bool) -> None:
    child = _started(folder, method, Kind(external=external, older=True, force=True))
    _, status = os.waitpid(child, 0)
    assert status == 0, f"a run that is left alone ends with {status}"


def _killed(folder: Path, kind: Kind, seconds: float, number: signal.Signals) -> None:
    child = _started(folder, NEW, kind)
    time.sleep(seconds)
    os.kill(child, number)  # a process that has ended waits to be asked for its status
    os.waitpid(child, 0)


def _started(folder: Path, method: str, kind: Kind) -> int:
    """Start a run in a fork of this process, which has imported everything; return its number."""
    words = ["compress", "m.onnx", "-m", *method.split(), "--seconds", "0", "-o", "out.onnx"]
    child = os.fork()
    if child:
        return child
    os.chdir(folder)
    os.environ |= {"TMPDIR": str(folder), "DTC_VERIFY_STAGES": ""}
    tempfile.tempdir = str(folder)
    dtc.graph.save.EXTERNAL_DATA_ABOVE = 0 if kind.external else 10**9
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.argv = ["dtc", *words, *(["--force"] if kind.force else [])]
    code: object = 0
    try:
        run_dtc()
    except SystemExit as stop:
        code = stop.code
    os._exit(code if isinstance(code, int) else 1)


def _ending(there: Files, before: Files, after: Files) -> str:
    """Return which output is there: its model file, and the data that this one names."""
    for name, files in (("the new one", after), ("the older one", before)):
        if files and all(there.get(file) == content for file, content in files.items()):
            return name
    return "torn" if before or "out.onnx" in there else "not there yet"


def _lost(there: Files, wanted: Files, told: str) -> Iterator[str]:
    for name, content in wanted.items():
        if there.get(name) != content:
            yield f"{told}: {name} is {'changed' if name in there else 'lost'}"


def _strangers(there: Files, known: tuple[Files, ...], told: str) -> list[str]:
    names = set().union(*known)
    return [f"{told}: left {name}" for name in sorted(there) if name not in names]


def _files(folder: Path) -> Files:
    """Return everything in a folder, folders too."""
    found = sorted(folder.rglob("*"))
    return {file.relative_to(folder).as_posix(): file.read_bytes() if file.is_file() else b"" for file in found}


def _write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _clear(folder: Path) -> None:
    for each in folder.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()


def main(count: int = 50, seed: int = 0) -> int:
    """Print what was found; the exit status is 1 if anything was."""
    with tempfile.TemporaryDirectory() as place:
        kills = try_kills(count, Path(place), seed)
    for each in kills.found:
        print(each)
    endings = ", ".join(f"{number} times {ending}" for ending, number in kills.endings.most_common())
    print(f"{count} kills; afterwards the output was {endings}; {len(kills.found)} torn, lost or left")
    return 1 if kills.found else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
