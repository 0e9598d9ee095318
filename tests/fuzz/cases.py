"""What is tried with what: damaged models, and other damaged files that dtc reads, each with the commands for it.

A case is drawn by the name of what is damaged and a number.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from mutants import damaged_bytes, damaged_model, damaged_text
from seeds import seeds

from dtc.cli import main
from dtc.passes.lower.target import targets

METHODS: Mapping[str, str] = {
    "svd": "--rank 4",
    "prune": "--sparsity 0.7",
    "prune-masked": "--sparsity 0.7",
    "binary": "--bits 1",
    "uniform": "--bits 4",
    "int8": "",
    "codebook": "--codewords 4 --block 1",
    "bins": "",
    "prune+uniform": "--sparsity 0.5 --bits 4",
    "svd+binary": "--rank 4 --bits 2",
    "svd+prune": "--rank 8 --sparsity 0.5",
    "prune+codebook": "--sparsity 0.5 --codewords 4 --block 1",
}
"""Every method, and compositions, with options for the small models."""

_FURTHER = ((),) * 5 + (("--json",), ("--dump", "dumped"), ("--report", "told"), ("--run", "run"), ("--allow-growth",))

Command = tuple[str, ...]
Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Case:
    """Files in a folder, and the commands that are run there, one after the other."""

    files: Files
    commands: tuple[Command, ...]


def names() -> list[str]:
    """Return what can be damaged."""
    return [*seeds(), *_OWN, *_OTHERS]


def case(name: str, number: int) -> Case:
    """Return the case of a name and a number, always the same one."""
    dice = random.Random(f"{name} {number}")
    return _OTHERS[name](dice) if name in _OTHERS else _of_model(name, dice)


def whole_case(name: str) -> Case:
    """Return the undamaged files of a name, with a command that takes them."""
    if name in _OTHERS:
        return _OTHERS[name](None)
    return Case({"m.onnx": _model(name).SerializeToString()}, (("inspect", "m.onnx"), _compress("svd", "compute")))


def real_case(path: Path, number: int) -> Case:
    """Return the case of a model in a file."""
    dice = random.Random(f"{path.name} {number}")
    damaged = damaged_model(onnx.load(path), (), dice)
    return Case({"m.onnx": damaged}, (("inspect", "m.onnx"), _drawn_compress(dice)))


def _of_model(name: str, dice: random.Random) -> Case:
    whole = _model(name)
    damaged = damaged_model(whole, list(seeds().values()), dice)
    commands: list[Command] = [("inspect", "m.onnx"), _drawn_compress(dice)]
    match dice.randrange(4):
        case 0:
            commands.append(("check", "whole.onnx", "m.onnx", "--seconds", "0"))
        case 1:
            commands.append(("check", "m.onnx", "m.onnx", "--seconds", "0", "--json"))
        case 2:
            commands.append(_drawn_compress(dice))
    return Case({"m.onnx": damaged, "whole.onnx": whole.SerializeToString()}, tuple(commands))


def _drawn_compress(dice: random.Random) -> Command:
    return (*_compress(dice.choice(list(METHODS)), dice.choice(sorted(targets()))), *dice.choice(_FURTHER))


def _compress(method: str, target: str) -> Command:
    options = ("-m", method, *METHODS[method].split(), "--lower", target)
    return ("compress", "m.onnx", "--seconds", "0", "-o", "out.onnx", "--force", *options)


def _of_external(dice: random.Random | None) -> Case:
    """Weights beside the model: either of them is damaged."""
    model = onnx.ModelProto()
    model.CopyFrom(seeds()["feedforward"])
    weights = model.graph.initializer[0].raw_data
    for key, value in {"location": "w.bin", "offset": "64", "length": str(len(weights))}.items():
        model.graph.initializer[0].external_data.add(key=key, value=value)
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    model.graph.initializer[0].ClearField("raw_data")
    files = {"m.onnx": model.SerializeToString(), "w.bin": bytes(64) + weights}
    if dice is None:
        return Case(files, (("inspect", "m.onnx"), _compress("svd", "compute")))
    if dice.random() < 0.8:
        files["m.onnx"] = damaged_model(model, (), dice)
    else:
        files["w.bin"] = damaged_bytes(files["w.bin"], dice)
    return Case(files, (("inspect", "m.onnx"), _drawn_compress(dice), ("check", "m.onnx", "m.onnx", "--seconds", "0")))


def _of_samples(dice: random.Random | None) -> Case:
    """Samples in an `.npz`, or in a folder of `.npy`, with the model whole."""
    rng, packed = np.random.default_rng(0), io.BytesIO()
    arrays = {"x": rng.normal(size=(40, 32)).astype(np.float32), "labels": rng.integers(0, 16, 40)}
    np.savez_compressed(packed, **arrays)
    files = {"m.onnx": seeds()["feedforward"].SerializeToString(), "d.npz": packed.getvalue()}
    for name, array in arrays.items():
        plain = io.BytesIO()
        np.save(plain, array)
        files[f"d/{name}.npy"] = plain.getvalue()
    if dice is None:
        return Case(files, ((*_compress("prune", "compute"), "--data", "d.npz"),))
    files["d.npz"] = damaged_bytes(files["d.npz"], dice)
    damaged = dice.choice(("d/x.npy", "d/labels.npy"))
    files[damaged] = _with_damaged_head(files[damaged], dice)
    further = dice.choice(((), ("--activation-bits", "8"), ("--max-drop", "0.5")))
    commands = [(*_drawn_compress(dice), "--data", data, *further) for data in ("d.npz", "d")]
    commands.append(("check", "m.onnx", "m.onnx", "--seconds", "0", "--data", dice.choice(("d.npz", "d"))))
    return Case(files, tuple(commands))


def _with_damaged_head(content: bytes, dice: random.Random) -> bytes:
    """Damage the header of a `.npy`, 128 bytes with NumPy, or now and then all of it."""
    return damaged_text(content[:128], dice) + content[128:] if dice.random() < 0.7 else damaged_bytes(content, dice)


_RECIPE = b"""rules:
- method: svd
  options: {rank: 4}
  include: ["W"]
- method: prune+uniform
  options: {sparsity: 0.5, bits: 4}
  exclude: ["c*"]
objective: {loss: auto, metric: accuracy}
data: {train: d.npz, batch_size: 8, held_out: 0.2}
activations: {bits: 8}
lower: compute
seed: 3
"""


def _of_recipe(dice: random.Random | None) -> Case:
    files = dict(_of_samples(None).files) | {"r.yaml": _RECIPE}
    command = ("compress", "m.onnx", "--seconds", "0", "-o", "out.onnx", "--force", "--recipe", "r.yaml")
    if dice is not None:
        files["r.yaml"] = damaged_text(_RECIPE, dice)
    return Case(files, (command,))


def _of_run(dice: random.Random | None) -> Case:
    """The directory of a finished compression, one of whose files is damaged or gone."""
    files = dict(_finished_run())
    commands = (("compress", "--resume", "run", "--force"), ("compress", "--resume", "run"), ("report", "run"))
    if dice is None:
        return Case(files, commands[:2])
    damaged = dice.choice(sorted(name for name in files if name.startswith("run/")))
    if dice.random() < 0.1:
        del files[damaged]
    else:
        change = damaged_text if damaged.endswith((".json", ".yaml", ".jsonl")) else damaged_bytes
        files[damaged] = change(files[damaged], dice)
    return Case(files, commands)


_OTHERS: Mapping[str, Callable[[random.Random | None], Case]] = {
    "external": _of_external,
    "samples": _of_samples,
    "recipe": _of_recipe,
    "run": _of_run,
}


_OWN: Mapping[str, tuple[str, str, str]] = {
    **{f"own {method}": ("feedforward", method, "compute") for method in METHODS},
    "own standard": ("feedforward", "prune", "standard"),
    "own storage": ("feedforward", "binary", "storage"),
    "own low rank cells": ("recurrent", "svd", "compute"),
    "own binary cells": ("recurrent", "binary", "compute"),
}
"""Models that dtc wrote: what was compressed, by which method, for which target."""


@cache
def _model(name: str) -> onnx.ModelProto:
    if name not in _OWN:
        return seeds()[name]
    whole, method, target = _OWN[name]
    files = {"m.onnx": seeds()[whole].SerializeToString()}
    return onnx.load_from_string(_made(files, _compress(method, target))["out.onnx"])


@cache
def _finished_run() -> Files:
    return _made(_of_samples(None).files, (*_compress("prune", "compute"), "--data", "d.npz", "--run", "run"))


def _made(files: Files, command: Command) -> Files:
    """Return the files that there are after a command that succeeds."""
    with tempfile.TemporaryDirectory() as place:
        write_files(files, Path(place))
        run_here(command, Path(place))
        return {
            file.relative_to(place).as_posix(): file.read_bytes() for file in Path(place).rglob("*") if file.is_file()
        }


def write_files(files: Files, folder: Path) -> None:
    """Write files into an empty folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def run_here(command: Sequence[str], folder: Path) -> None:
    """Run a command, which has to succeed, in this process, with a folder as its working directory."""
    before, arguments = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = ["dtc", *command]
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            main()
    except SystemExit as stop:
        if stop.code:
            raise ValueError(f"{' '.join(command)}: {told.getvalue()}") from stop
    finally:
        os.chdir(before)
        sys.argv = arguments
