"""The run directory: everything of one run, whole in itself, so that it can be moved and resumed anywhere.

recipe.yaml     the recipe, its data named relative to this folder
run.json        format, hash of the input, fingerprints of the data
model/          the input model and its external data
data/           the data sets, as hard links where the file system allows
activations.json  levels that quantized activations start with, where there are any
metrics.jsonl   events (dtc.training.events)
checkpoints/    the last two
best/           the best distorted weights and their forms, by step
result.json     written at the end
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from dtc.data import Source, hold_out, open_source
from dtc.errors import DataError, ModelError, RecipeError, TrainingError, UsageError
from dtc.graph import all_graphs, load_model
from dtc.passes.prepare import normalise
from dtc.passes.prepare.quantize_activations import Quantization, quantize_activations
from dtc.recipe import Data, Recipe
from dtc.training.engine_kind import engine_of
from dtc.training.quantizations import FILE as ACTIVATIONS
from dtc.training.quantizations import read_quantizations, write_quantizations

FORMAT = 1


@dataclass(frozen=True)
class Run:
    """A run directory, opened.

    Attributes:
        folder: Where it lies now.
        recipe: What was asked for.
        model_path: The copy of the input model.
    """

    folder: Path
    recipe: Recipe
    model_path: Path

    @property
    def metrics(self) -> Path:
        """The file of events."""
        return self.folder / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        """The folder of the best weights, one folder a step."""
        return self.folder / "best"

    def quantizations(self) -> list[Quantization]:
        """Return the levels that quantized activations start with."""
        return read_quantizations(self.folder)

    def load_model(self, *, quantized: bool = True) -> ir.Model:
        """Load the copy of the input model, normalised, with or without the run's quantizers of activations."""
        model = load_model(self.model_path)
        normalise(model)
        if quantized:
            quantize_activations(model, self.quantizations())
        return model

    def open_data(self) -> tuple[Source, Source]:
        """Open the data: what is trained on, and what is evaluated on.

        Raises:
            DataError: The data is damaged, or has changed since the run began.
        """
        data = self.recipe.data
        assert data.train is not None, "a recipe with training has data"
        train = open_source(data.train, batch_size=data.batch_size, base=self.folder)
        if data.evaluate is None:
            return hold_out(train, data.held_out)
        return train, open_source(data.evaluate, batch_size=data.batch_size, base=self.folder, split="evaluate")


def create_run(
    folder: Path,
    recipe: Recipe,
    model: Path,
    *,
    base: Path = Path(),
    replace: bool = False,
    quantizations: Sequence[Quantization] = (),
) -> Run:
    """Make the directory of a new run, whole or not at all; relative data paths start at `base`.

    The engine is decided here: a run that is moved goes on with the engine that it began with. `quantizations` are the
    activations to quantize. With `replace`, an older run of that name goes; never a folder that
    is none.

    Raises:
        UsageError: The folder exists already, the recipe has no training, or there is no engine of that name.
        RecipeError: There is no engine of that name, and the recipe was read from a file.
        ModelError: The model cannot be loaded.
        DataError: There is no such data.
    """
    if recipe.training is None:
        raise UsageError("a run needs training in its recipe: give --retrain")
    training = recipe.training.model_copy(update={"engine": engine_of(recipe).name})
    older = replace and (folder / "run.json").is_file()
    if folder.exists() and not older and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists already; resume it, or choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as unfinished:
        new = Path(unfinished) / "run"
        _copy_model(load_model(model), model, new / "model")
        local = {
            split: _copy_data(spec, base, new, split)
            for split, spec in (("train", recipe.data.train), ("evaluate", recipe.data.evaluate))
            if spec is not None
        }
        data = Data.model_validate(recipe.data.model_dump() | local)
        frozen = recipe.model_copy(update={"data": data, "training": training})
        (new / "recipe.yaml").write_text(frozen.to_yaml(), encoding="utf-8")
        write_quantizations(new, quantizations)
        facts = {"format": FORMAT, "model": model.name, "files": dict(_fingerprints(new))}
        (new / "run.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        if older:
            folder.rename(Path(unfinished) / "older")
        new.replace(folder)
    return open_run(folder)


def open_run(folder: Path) -> Run:
    """Open an existing run, wherever it was moved to.

    Raises:
        UsageError: The folder is no run directory.
        TrainingError: A file of it has changed since the run began.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        name, files, version = str(facts["model"]), dict(facts["files"]), facts["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder}: not a run directory ({error})") from error
    if version != FORMAT:
        raise UsageError(f"{folder}: a run of format {version}, this dtc reads {FORMAT}; use the dtc that made it")
    found = dict(_fingerprints(folder))
    for path in sorted(files.keys() | found.keys()):
        if files.get(path) != found.get(path):
            raise TrainingError(
                f"{folder / path}: has changed since the run began, so it cannot be resumed; "
                "put the file back, or start a new run"
            )
    recipe = Recipe.load(folder / "recipe.yaml")
    if recipe.training is None:
        raise RecipeError(f"{folder / 'recipe.yaml'}: has no training")
    return Run(folder, recipe, folder / "model" / Path(name).name)


def _copy_model(model: ir.Model, path: Path, target: Path) -> None:
    """Copy a model file and its external data, which `load_model` found in the model's folder.

    Copied, not linked: whoever exports the model again writes into the same file.
    """
    files = {Path(path.name)}
    for graph in all_graphs(model):
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                files.add(Path(value.const_value.location))
    try:
        for file in files:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path.parent / file, target / file)
    except OSError as error:
        raise ModelError(f"{path}: cannot be copied into the run ({error.strerror})") from error


def _copy_data(spec: str, base: Path, run: Path, split: str) -> str:
    """Bring data into the run; return what it is called from there."""
    place, colon, function = spec.rpartition(":")
    script = bool(colon) and place.endswith(".py")
    source = base / (place if script else spec)
    target = run / "data" / split / source.resolve().name
    try:
        if source.is_dir():
            for file in sorted(source.glob("*.npy")):
                _link(file, target / file.name)
        elif source.is_file():
            _link(source, target)
        elif colon and not script:
            return spec  # a module goes by its name
        else:
            raise DataError(f"{source}: no such file")
    except OSError as error:
        raise DataError(f"{source}: cannot be copied into the run ({error.strerror})") from error
    return target.relative_to(run).as_posix() + (f":{function}" if script else "")


def _link(source: Path, target: Path) -> None:
    """Link a file of data, copy it where the file system cannot; scripts are copied, because they are edited."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".py":
        shutil.copy(source, target)
        return
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy(source, target)


def _fingerprints(folder: Path) -> Iterator[tuple[str, str]]:
    patterns = ("model/**/*", "data/*/*", "data/*/*/*", ACTIVATIONS)
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix(), fingerprint(path)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file; of one above 256 MB, of its size and of 64 MB spread evenly over it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= 256 << 20:
            return hashlib.file_digest(file, "sha256").hexdigest()
        sampled = hashlib.sha256(str(size).encode())
        for number in range(64):
            file.seek((size - (1 << 20)) * number // 63)
            sampled.update(file.read(1 << 20))
        return f"sampled:{sampled.hexdigest()}"
