"""Compression from file to file, as a page of prose."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from dtc.calibration import Calibration, fit_activations, make_probe, measure_statistics
from dtc.check import CheckReport, check
from dtc.data import Source, open_source
from dtc.errors import CheckFailedError, ModelError, RecipeError, RuleError, UsageError
from dtc.faithful import check_faithful, save_comparable
from dtc.graph import load_model, move_model
from dtc.job import Job
from dtc.passes.lower import lower
from dtc.passes.lower.accuracy import set_accuracy_level
from dtc.passes.lower.explain import explain
from dtc.passes.method import DistortionStep
from dtc.passes.plan import Distorted, Plan, make_plan
from dtc.passes.prepare import normalise, strip_training
from dtc.passes.prepare.quantize_activations import (
    Quantization,
    find_activations,
    quantize_activations,
    require_quantizers,
)
from dtc.recipe import Recipe
from dtc.report import make_report, write_report
from dtc.summary import Summary, relative_error, summarise
from dtc.training.engine_kind import engine_of
from dtc.training.events import Event
from dtc.training.gradients import measure_gradients
from dtc.training.launch import Result, train
from dtc.training.run import create_run, open_run

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Compression:
    """What a compression gave.

    Attributes:
        output: The file written.
        summary: Sites, methods and ratios.
        faithful: The written file against the distorted dense model: float rounding and nothing else.
        outcome: The written file against the original: metric, size, latency, memory.
        training: What the retraining did, where there was one.
        reports: Pages of the report, one in each folder that it was written to.
        measured: BatchNormalizations whose statistics were measured anew on samples without training.
        quantizers: Quantizers of activations in the written file; `faithful` compares without their rounding.
    """

    output: Path
    summary: Summary
    faithful: CheckReport
    outcome: CheckReport
    training: Result | None = None
    reports: tuple[Path, ...] = ()
    measured: int = 0
    quantizers: int = 0

    def raise_if_failed(self) -> None:
        """Raise CheckFailedError if the written file lost more than it may."""
        if self.outcome.failures:
            raise CheckFailedError(f"{self.output}: {'; '.join(self.outcome.failures)}")


def compress(
    path: Path,
    recipe: Recipe,
    job: Job,
    *,
    base: Path = Path(),
    run: Path | None = None,
    on_event: OnEvent | None = None,
) -> Compression:
    """Compress the model at `path`: load, normalise, select, retrain, distort, lower, save, check.

    Relative paths of the recipe's data start at `base`. `run` is the run directory of the retraining; one beside the
    output if not given.

    Raises:
        CheckFailedError: The lowered model does not compute what the distorted one does; nothing is written.
        DtcError: Whatever is wrong with model, recipe, data or output, in words for the user.
    """
    job.refuse_early(path, recipe)
    if recipe.training is not None:
        engine_of(recipe)  # a name that is no engine's shows before any work
    model, plan = _planned(path, recipe)
    if recipe.training is None:
        samples = _samples(recipe, base)
        distorted = _distort_once(path, model, plan, recipe, job, samples, base)
        errors = _assign(plan, distorted)
        measured = _measure_batch_norms(model, recipe, base)
        if quantizations := _fit_activations(model, plan, recipe, base):
            quantize_activations(model, quantizations)
            _measure_batch_norms(model, recipe, base)  # rounding shifts them again
        result = _write(path, model, plan, distorted, errors, recipe, job, samples)
        return replace(result, measured=measured)
    plan.distort(at=DistortionStep(steps=1, seed=recipe.seed))  # what is wrong with the rules shows before any training
    folder = run or job.output.with_suffix(".dtc-run")
    quantizations = _fit_activations(model, plan, recipe, base)
    create_run(folder, recipe, path, base=base, replace=job.force, quantizations=quantizations)
    job.write(folder)
    return resume(folder, force=job.force, on_event=on_event)


def resume(folder: Path, *, force: bool = False, on_event: OnEvent | None = None) -> Compression:
    """Carry the compression of a run directory on to its end, from its newest checkpoint.

    Raises:
        DtcError: The folder is no run of `compress`, or whatever else is wrong, in words for the user.
    """
    run, job = open_run(folder), Job.read(folder, force=force)
    job.refuse_early(run.model_path, run.recipe)
    result = train(folder, on_event=on_event)
    parameters, forms, skipped = result.load()
    model, plan = _planned(run.model_path, run.recipe, run.quantizations())
    for name, array in parameters.items():
        model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    dense = {
        site.name: site.restore(np.stack([form.dense() for form in forms[site.name]]))
        for site in plan.sites
        if site.name in forms
    }
    _, evaluation = run.open_data()
    distorted = Distorted(dense, forms, skipped)
    _assign(plan, distorted)
    # The weights that were distorted last are gone, and the errors against the original's tell nothing.
    return _write(run.model_path, model, plan, distorted, {}, run.recipe, job, evaluation, result)


def _planned(path: Path, recipe: Recipe, quantizations: Sequence[Quantization] = ()) -> tuple[ir.Model, Plan]:
    model = load_model(path)
    normalise(model)
    try:
        if recipe.activations.bits is not None:
            require_quantizers(model, recipe.activations.bits)  # before sites are found in the graph
        quantize_activations(model, quantizations)
        return model, make_plan(model, recipe.rules)
    except RuleError as error:
        place = recipe.place(error.path)
        if place is None:
            raise
        raise RecipeError(f"{place}: {'.'.join(map(str, error.path))}: {error.reason}") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _write(
    original: Path,
    model: ir.Model,
    plan: Plan,
    distorted: Distorted,
    errors: Mapping[str, float],
    recipe: Recipe,
    job: Job,
    evaluation: Source | None,
    training: Result | None = None,
) -> Compression:
    """Write the distorted model, once dense to compare with and once lowered, and check the latter."""
    strip_training(model)
    # The output appears when all is well with it, and what was there before is safe until then.
    with tempfile.TemporaryDirectory(dir=job.output.absolute().parent, prefix=f".{job.output.name}-") as folder:
        dense = save_comparable(model, Path(folder) / f"distorted-{job.output.name}")
        items = plan.compressed(distorted.forms)
        lower(model, items, recipe.lower)
        lowered = explain(model, items, recipe.lower)
        set_accuracy_level(model, recipe.accuracy_level)
        written = save_comparable(model, Path(folder) / job.output.name)
        faithful = check_faithful(dense, written, recipe, job)
        if faithful.failures:
            raise CheckFailedError(f"{job.output}: not written, as it would be wrong: {'; '.join(faithful.failures)}")
        outcome = check(
            original,
            written.path,
            source=evaluation,
            objective=recipe.objective,
            max_drop=job.max_drop,
            fixed=job.fixed,
            seed=recipe.seed,
            seconds=job.seconds,
        )
        move_model(written.path, job.output)
    sizes = (outcome.reference.file_bytes, outcome.candidate.file_bytes)
    summary = summarise(plan.sites, distorted.forms, distorted.skipped, errors, lowered, sizes)
    folders = [folder for folder in (training.run if training else None, job.report) if folder is not None]
    quantizers = len(written.levels)
    if not folders:
        return Compression(job.output, summary, faithful, outcome, training, quantizers=quantizers)
    _, untouched = _planned(original, recipe)
    found = (recipe, untouched, distorted, summary, faithful, outcome, training)
    report = make_report(original, job.output, *found, quantizers=quantizers)
    pages = tuple(write_report(report, folder) for folder in folders)
    return Compression(job.output, summary, faithful, outcome, training, pages, quantizers=quantizers)


def _assign(plan: Plan, distorted: Distorted) -> dict[str, float]:
    """Put distorted weights in the place of the model's; return the relative error of each site."""
    errors = {}
    for site in plan.sites:
        if site.name in distorted.dense:
            errors[site.name] = relative_error(site.array().astype(np.float32), distorted.dense[site.name])
            site.assign(distorted.dense[site.name])
    return errors


def _fit_activations(model: ir.Model, plan: Plan, recipe: Recipe, base: Path) -> list[Quantization]:
    """Return the levels of the activations that compressed weights read, where the recipe wants them quantized."""
    data, bits = recipe.data, recipe.activations.bits
    if bits is None or data.train is None:
        return []
    activations = find_activations(model, plan.taken)
    if not activations:
        raise UsageError(
            "--activation-bits: no compressed weight reads an activation that can be quantized; the first layer reads "
            "the input as it is, and recurrent weights and embeddings are left alone"
        )
    samples = open_source(data.train, batch_size=data.batch_size, base=base)
    return fit_activations(model, activations, bits, samples, recipe.objective, seed=recipe.seed)


def _measure_batch_norms(model: ir.Model, recipe: Recipe, base: Path) -> int:
    """Give every BatchNormalization the statistics that it has under the model's present weights; return how many."""
    data = recipe.data
    if recipe.batch_norm == "frozen" or data.train is None:
        return 0
    samples = open_source(data.train, batch_size=data.batch_size, base=base)
    found = measure_statistics(model, samples, recipe.objective, seed=recipe.seed)
    for name, array in found.items():
        model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    return len(found) // 2  # a mean and a variance each


def _distort_once(
    path: Path, model: ir.Model, plan: Plan, recipe: Recipe, job: Job, samples: Source | None, base: Path
) -> Distorted:
    """Distort without training; what methods can learn from samples alone is measured first."""
    objective, seed = recipe.objective, recipe.seed
    calibration = Calibration(path, samples, objective, seed) if samples and "gram" in plan.needs else None
    probe = None
    if "probe" in plan.needs:
        probe = make_probe(model, plan.taken, objective, source=samples, seed=seed, fixed=job.fixed)
    measured = "gradient" in plan.needs and recipe.data.train is not None
    return plan.distort(
        at=DistortionStep(seed=seed, probe=probe),
        gradients=measure_gradients(path, recipe, base=base) if measured else {},
        grams=lambda site: calibration.gram_of(site, model) if calibration else None,
    )


def _samples(recipe: Recipe, base: Path) -> Source | None:
    """Without training, all data is for looking at the model, and for evaluation."""
    spec = recipe.data.evaluate or recipe.data.train
    return open_source(spec, batch_size=recipe.data.batch_size, base=base, split="evaluate") if spec else None
