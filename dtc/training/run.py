"""The run directory: everything of one run, whole in itself, so that it can be moved and resumed anywhere.

A run trains a model, retrains one that it compresses, or compresses one without training; a compression also has
`job.json` (dtc.job) and, once it is finished, `report.json` with its result (dtc.report.document).

recipe.yaml     the recipe, its data named relative to this folder
run.json        format, hash of the input, fingerprints of the data
model/          the input model and its external data
data/           the data sets, as hard links where the file system allows
activations.json  levels that quantized activations start with, where there are any
moments/        second moments of the inputs of sites, where the first distortion makes up for errors
metrics.jsonl   events (dtc.training.events)
checkpoints/    the last two
intervals.json  scores of trials, where the interval between distortions is to be found
best/           the best distorted weights and their forms, by step
result.json     of a training, written at its end
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import onnx_ir as ir
from pydantic import ValidationError

from dtc.data import Samples, fixed_batch, relocated
from dtc.errors import DataError, ModelError, RecipeError, TrainingError, UsageError
from dtc.graph import load_model, model_files
from dtc.passes.method import Grams
from dtc.passes.prepare import normalise
from dtc.passes.prepare.quantize_activations import Quantization, quantize_activations
from dtc.recipe import Data, Recipe, Training
from dtc.scratch import scratch_folder
from dtc.training.engine_kind import engine_of, find_engine
from dtc.training.moments import FOLDER as MOMENTS
from dtc.training.moments import StoredMoments, write_moments
from dtc.training.quantizations import FILE as ACTIVATIONS
from dtc.training.quantizations import read_quantizations, write_quantizations

METRICS = "metrics.jsonl"
"""File of the events in a run directory."""

FORMAT = 1

PlaceData: TypeAlias = Callable[[str, Path, Path, str], str]
"""Takes what data is called, from which folder, a run directory, and train or evaluate; returns its name from there."""


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
        return self.folder / METRICS

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        """The folder of the best weights, one folder a step."""
        return self.folder / "best"

    @property
    def training(self) -> Training:
        """The training part of the recipe.

        Raises:
            RecipeError: The recipe has no training.
        """
        if self.recipe.training is None:
            raise RecipeError(f"{self.folder / 'recipe.yaml'}: has no training")
        return self.recipe.training

    def retold(self, **training: Any) -> Run:
        """Return the run after some fields of its recipe's training were replaced, in its directory too.

        Raises:
            UsageError: A value is refused, or the engine cannot do that; nothing is changed.
            TrainingError: The recipe cannot be written.
        """
        try:
            told = Training.model_validate(self.training.model_dump() | training)
        except ValidationError as error:
            first = error.errors()[0]
            message = str(first["msg"]).removeprefix("Value error, ")
            raise UsageError(f"--{first['loc'][0]}: {message} (given: {first['input']!r})") from error
        recipe = self.recipe.model_copy(update={"training": told})
        engine_of(recipe)
        try:
            with scratch_folder(self.folder) as scratch:
                written = scratch / "recipe.yaml"
                written.write_text(recipe.to_yaml(), encoding="utf-8")
                written.replace(self.folder / "recipe.yaml")
        except OSError as error:
            raise TrainingError(f"{self.folder / 'recipe.yaml'}: cannot be written ({error.strerror})") from error
        return replace(self, recipe=recipe)

    def placed(self, **where: str | int | None) -> Run:
        """Return the run to go on with another `engine`, or on another `device`, or in so many `processes`.

        What is None stays as it is.

        Raises:
            UsageError: There is no such engine, or it cannot do that.
            RecipeError: The run trains nothing.
            TrainingError: The recipe cannot be written.
        """
        told = {name: value for name, value in where.items() if value is not None}
        if "engine" in told:
            find_engine(str(told["engine"]))  # a wrong name is no mistake of the run's recipe
        return self.retold(**told) if told else self

    def reread(self) -> Run:
        """Return the run with its recipe as it is now: a worker's session may have decided on the engine."""
        return replace(self, recipe=Recipe.load(self.folder / "recipe.yaml"))

    def quantizations(self) -> list[Quantization]:
        """Return the levels that quantized activations start with."""
        return read_quantizations(self.folder)

    def moments(self) -> StoredMoments:
        """Return the second moments of the inputs of sites.

        Raises:
            TrainingError: Their folder is damaged.
        """
        return StoredMoments(self.folder)

    def load_model(self, *, quantized: bool = True) -> ir.Model:
        """Load the copy of the input model, normalised, with or without the run's quantizers of activations."""
        model = load_model(self.model_path)
        normalise(model)
        if quantized:
            quantize_activations(model, self.quantizations())
        return model

    def samples(self, model: ir.Model) -> Samples:
        """Return the samples of the run, for its model."""
        objective = self.recipe.objective
        return Samples(self.recipe.data, self.folder, fixed_batch(model, objective), bool(objective.carry), "training")


def create_run(
    folder: Path,
    recipe: Recipe,
    model: Path,
    *,
    base: Path = Path(),
    replace: bool = False,
    quantizations: Sequence[Quantization] = (),
    moments: Iterable[tuple[str, Grams]] = (),
    place_data: PlaceData | None = None,
) -> Run:
    """Make the directory of a new run, whole or not at all; relative data paths start at `base`.

    Which engine trains is decided when it begins, unless the recipe says. `quantizations` are
    the activations to quantize, `moments` the second moments of the inputs of sites, by name. `place_data` puts data
    into the run; without it data is linked or copied. With `replace`, an older run in `folder` is deleted, but never a
    folder that is no run.

    Raises:
        UsageError: The folder exists already, or there is no engine of that name.
        RecipeError: There is no engine of that name, and the recipe was read from a file.
        ModelError: The model cannot be loaded.
        DataError: There is no such data.
    """
    if recipe.training is not None:
        engine_of(recipe)
    # An empty folder may be used, and an older run where that was asked for; anything else is somebody's data.
    older = replace and (folder / "run.json").is_file()
    if folder.exists() and not older and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists already; resume it, or choose another folder")
    # Everything is put together beside the folder, which then appears by one rename.
    with _beside(folder) as unfinished:
        new = unfinished / "run"
        # 1. Copies of model and data under names that are relative to the run, so that it can be moved as a whole.
        _copy_model(model_files(model, load_model(model)), new / "model")
        local = {
            split: (place_data or _copy_data)(spec, base, new, split)
            for split, spec in (("train", recipe.data.train), ("evaluate", recipe.data.evaluate))
            if spec is not None
        }
        # 2. The recipe names the copies. What the user wrote stays: only `data` and `costs` are replaced, and libraries
        #    of operators, which need what lies beside them, are named from here.
        data = Data.model_validate(recipe.data.model_dump() | local)
        told = {"data": data, "costs": _copy_costs(recipe, base, new)}
        libraries = tuple(relocated(library, base, folder) for library in recipe.custom_ops)
        frozen = recipe.model_copy(update={**told, "custom_ops": libraries})
        (new / "recipe.yaml").write_text(frozen.to_yaml(), encoding="utf-8")
        write_quantizations(new, quantizations)
        write_moments(new, moments)
        # 3. Fingerprints of all that training depends on, of the copies and not of the sources.
        facts = {"format": FORMAT, "model": model.name, "files": dict(_fingerprints(new))}
        (new / "run.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        # The older run moves into the temporary folder, and goes with it.
        if older:
            folder.rename(unfinished / "older")
        new.replace(folder)
    return open_run(folder)


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Make a temporary folder beside `folder`, and those above it where they are missing."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder.parent) as unfinished:
            yield unfinished
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror}); choose another --run") from error


def _copy_costs(recipe: Recipe, base: Path, new: Path) -> str | None:
    """Copy the table of costs that a recipe names into a run; return its name there."""
    if recipe.costs is None:
        return None
    try:
        shutil.copyfile(base / recipe.costs, new / "costs.json")
    except OSError as error:
        raise UsageError(f"{base / recipe.costs}: cannot be read ({error.strerror})") from error
    return "costs.json"


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
    # The union of both: a file that is missing, one that is new and one that changed are all differences.
    for path in sorted(files.keys() | found.keys()):
        if files.get(path) != found.get(path):
            raise TrainingError(
                f"{folder / path}: has changed since the run began, so it cannot be resumed; "
                "put the file back, or start a new run"
            )
    return Run(folder, Recipe.load(folder / "recipe.yaml"), folder / "model" / Path(name).name)


def _copy_model(files: Sequence[Path], target: Path) -> None:
    """Copy a model file and its external data, which lies in the model's folder.

    Copied, not linked: whoever exports the model again writes into the same file.
    """
    folder = files[0].parent
    try:
        for file in files:
            copy = target / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    except OSError as error:
        raise ModelError(f"{files[0]}: cannot be copied into the run ({error.strerror})") from error


def leave_data(spec: str, base: Path, run: Path, split: str) -> str:  # noqa: ARG001 - a `PlaceData`
    """Return how a data set is called from everywhere, for a run that goes before the data does."""
    place, colon, _ = spec.rpartition(":")
    in_module = bool(colon) and not place.endswith(".py") and not (base / spec).exists()
    return spec if in_module else str((base / spec).absolute())


def _copy_data(spec: str, base: Path, run: Path, split: str) -> str:
    """Link or copy a data set into the run directory; return its specification relative to that directory."""
    # 1. file.py:function: the script comes along.  2. A folder or a file.  3. module:function goes by its name.
    # From the right, because a path may hold a colon itself: "C:/sets/draw.py:batches" is the function `batches` of the
    # script "C:/sets/draw.py".
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
    # `data/train/x.npz` is two levels below `data`, `data/train/folder/x.npy` three; compiled scripts come and go.
    patterns = ("model/**/*", "data/*/*", "data/*/*/*", f"{MOMENTS}/*", ACTIVATIONS)
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix(), fingerprint(path)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file in hex; above 256 MB, of the size and of 64 MB spread evenly over the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= 256 << 20:
            return hashlib.file_digest(file, "sha256").hexdigest()
        sampled = hashlib.sha256(str(size).encode())
        # 64 pieces of 1 MB, the first at the start and the last up to the end: a data set of many gigabytes is not read
        # whole at every resume, and one that is written anew differs in size or nearly everywhere.
        for number in range(64):
            file.seek((size - (1 << 20)) * number // 63)
            sampled.update(file.read(1 << 20))
        return f"sampled:{sampled.hexdigest()}"
