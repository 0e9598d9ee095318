"""Training a model from scratch, with the engine that retrains compressed models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from dtc.graph import check_output, load_model, save_model
from dtc.job import refuse_code
from dtc.recipe import Recipe
from dtc.scratch import scratch_folder
from dtc.training.events import Event
from dtc.training.launch import Result, train
from dtc.training.run import create_run, open_run

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class TrainedReference:
    """A trained model: the file written, and the result of the training."""

    output: Path
    training: Result


def train_reference(
    model: ir.Model,
    recipe: Recipe,
    output: Path,
    run: Path,
    *,
    force: bool = False,
    on_event: OnEvent | None = None,
) -> TrainedReference:
    """Train `model` by a recipe without rules in the new run directory `run`, and write it to `output`.

    Dropout nodes stay in the file: inference ignores them, and retraining needs them.

    Raises:
        DtcError: Whatever is wrong with recipe, data or output, in words for the user.
    """
    check_output(output, force=force)
    with scratch_folder() as folder:
        fresh = folder / output.name
        save_model(model, fresh)
        create_run(run, recipe, fresh)
    return resume_training(run, output, force=force, allow_code=True, on_event=on_event)


def resume_training(
    run: Path,
    output: Path | None,
    *,
    force: bool = False,
    allow_code: bool = False,
    engine: str | None = None,
    device: str | None = None,
    processes: int | None = None,
    on_event: OnEvent | None = None,
) -> TrainedReference:
    """Carry a training on to its end and write the best weights; `engine` and so on as `dtc.pipeline.resume`.

    Raises:
        DtcError: As `train_reference`.
    """
    opened = open_run(run).placed(engine=engine, device=device, processes=processes)
    if not allow_code:
        refuse_code(opened.recipe, run, named_in=run)
    path = output or Path(opened.model_path.name)
    check_output(path, force=force)
    result = train(run, on_event=on_event)
    parameters, _, _ = result.load()
    model = load_model(opened.model_path)
    for name, array in parameters.items():
        model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    save_model(model, path, force=force)
    return TrainedReference(path, result)
