"""What a worker process does: it takes a run directory, and carries the run on from where it stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc import recipe
from dtc.data import Batch, Source, count_batches, fitted
from dtc.errors import DataError, TrainingError
from dtc.forms import Array, Form
from dtc.graph import find_sites
from dtc.passes.method import Moment, Need
from dtc.training.carry import Carry
from dtc.training.checkpoint import write_json
from dtc.training.engine import Engine
from dtc.training.evaluate import Evaluation, Metric
from dtc.training.events import Finished, Started
from dtc.training.journal import Journal
from dtc.training.known import Known
from dtc.training.lock import only_worker
from dtc.training.loop import Methods, Plan, Retraining
from dtc.training.objective import resolve_objective
from dtc.training.optimizer import make_optimizer
from dtc.training.run import Run, open_run
from dtc.training.state import State

GRADIENTS = "gradients.npz"
MEASURED_BATCHES = 64
"""Batches over which gradients are averaged where nothing is trained."""


@dataclass(frozen=True)
class Tools:
    """What differs between workers: the engine, and where distortions and metrics come from.

    `make_engine` is given the model to train, a recipe whose objective is resolved, and the model that distillation
    learns from: None for the same.
    """

    make_engine: Callable[[ir.Model, recipe.Recipe, ir.Model | None], Engine]
    make_methods: Callable[[ir.Model, Sequence[recipe.Rule]], Methods]
    make_metric: Callable[[str], Metric]


def work(folder: Path, tools: Tools, *, should_stop: Callable[[], bool], session: str = "") -> bool:
    """Carry a run on to its end, or until `should_stop`; return whether it is the end.

    Once it is known from where the run goes on, `session.json` says so under the name of the session.

    Raises:
        DtcError: Whatever is wrong with the run, in words for the user.
    """
    run = open_run(folder)
    with only_worker(folder):
        retraining, journal = prepare(run, tools)
        try:
            write_json(folder / "session.json", {"session": session, "offset": journal.offset})
            if journal.offset == 0:
                _begin(retraining, journal)
            ended = retraining.run(should_stop)
            if ended:
                journal.log(Finished(retraining.state.step, _write_result(run, retraining.state)))
        finally:
            journal.close()
    return ended


def leave_gradients(folder: Path, tools: Tools) -> None:
    """Leave the mean magnitude of each gradient over the first batches in the run directory; train nothing."""
    retraining, journal = prepare(open_run(folder), tools)
    journal.close()
    known = Known(frozenset({"gradient"}))
    carried: dict[str, npt.NDArray[np.generic]] = {}
    batches = retraining.data.batches(epoch=0, seed=retraining.plan.seed, shuffle=retraining.plan.shuffle)
    for number, batch in enumerate(islice(batches, MEASURED_BATCHES)):
        result = retraining.engine.step(retraining.carry.join(batch, carried), seed=number)
        carried = retraining.carry.take(result.outputs)
        known.see(result.gradients)
    arrays: dict[str, Any] = known.gradients()
    np.savez(folder / GRADIENTS, **arrays)


def prepare(run: Run, tools: Tools) -> tuple[Retraining, Journal]:
    """Build a retraining at the newest checkpoint of a run."""
    training, wanted = run.training, run.recipe.objective
    model = run.load_model()
    train, evaluate = (fitted(source, model, wanted) for source in run.open_data())
    objective = resolve_objective(wanted, _first_batch(train, run.recipe.seed))
    methods = tools.make_methods(model, run.recipe.rules) if run.recipe.rules else NoMethods()
    engine = _make_engine(run, run.recipe.model_copy(update={"objective": objective}), methods, tools)
    optimizer = make_optimizer(training.optimizer, engine.parameters, engine.positive)
    known = Known(methods.needs)
    journal = Journal(run, engine.parameters, optimizer.state, known)
    known.masks = dict(methods.masks(known.forms))
    if known.saved_latents and (latents := methods.latents(known.forms, engine.parameters)) is not None:
        known.hold(latents)
    state = journal.state
    state.steps = state.steps or _total_steps(training, train, run.recipe.seed)
    carry = Carry(model, objective.carry)
    metric = objective.metric
    evaluation = Evaluation(
        source=evaluate,
        carry=carry,
        make_metric=None if metric is None else lambda: tools.make_metric(metric),
        output=objective.output or str(model.graph.outputs[0].name),
        labels=objective.labels,
        seed=run.recipe.seed,
    )
    plan = _plan(run.recipe, training, state.steps)
    return Retraining(engine, optimizer, methods, train, carry, evaluation, plan, journal, state, known), journal


def _make_engine(run: Run, resolved: recipe.Recipe, methods: Methods, tools: Tools) -> Engine:
    """Return the engine; sites that it cannot train are distorted once, before training, and stay so."""
    model = run.load_model()
    teacher = run.load_model(quantized=False) if run.quantizations() else None
    engine = tools.make_engine(model, resolved, teacher)
    untrained = [site for site in find_sites(model) if site.name not in engine.parameters]
    if not untrained:
        return engine
    dense = methods.distort({}, Moment(seed=resolved.seed), {}, {}).dense
    fixed = [site for site in untrained if site.name in dense]
    for site in fixed:
        site.assign(dense[site.name])
    return tools.make_engine(model, resolved, run.load_model(quantized=False)) if fixed else engine


@dataclass(frozen=True)
class Undistorted:
    """Weights as they are."""

    dense: Mapping[str, Array] = field(default_factory=dict)
    forms: Mapping[str, tuple[Form, ...]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


class NoMethods:
    """A run that trains and distorts nothing."""

    needs: frozenset[Need] = frozenset()

    def distort(self, *_: object) -> Undistorted:
        """Return the weights as they are."""
        return Undistorted()

    def settled(self, _: Moment) -> bool:
        """Every step's weights may be the best."""
        return True

    def masks(self, *_: object) -> dict[str, npt.NDArray[np.bool_]]:
        """Every weight may change."""
        return {}

    def latents(self, *_: object) -> None:
        """The weights themselves are trained."""


def _plan(whole: recipe.Recipe, training: recipe.Training, steps: int) -> Plan:
    return Plan(
        steps=steps,
        distort_every=training.distort_every if whole.rules else None,
        evaluate_every=training.evaluate_every,
        checkpoint_every=training.checkpoint_every,
        rate=training.optimizer.learning_rate,
        schedule=training.schedule,
        # Carried state only means something between batches that follow each other.
        shuffle=not whole.objective.carry,
        seed=whole.seed,
        iteration=training.iteration_epochs if whole.rules and training.mode == "iterative" else None,
        patience=training.patience if whole.rules and training.mode == "iterative" else None,
    )


def _total_steps(training: recipe.Training, train: Source, seed: int) -> int:
    return training.steps or math.ceil(training.epochs * count_batches(train, seed))


def _first_batch(source: Source, seed: int) -> Batch:
    for batch in source.batches(epoch=0, seed=seed, shuffle=False):
        return batch
    raise DataError(f"{source.name}: has no batches")


def _begin(retraining: Retraining, journal: Journal) -> None:
    """Log the start of a run, after a trial that shows before the training what is wrong with the rules."""
    trial = retraining.distorted()
    retraining.state.seconds["distortion"] = 0.0
    engine = retraining.engine
    trained = sum(array.size for array in engine.parameters.values())
    journal.log(Started(retraining.plan.steps, trained, dict(engine.frozen), dict(trial.skipped)))


def _write_result(run: Run, state: State) -> int:
    """Write `result.json`; return the step of the best weights."""
    best = state.best
    if best is None:
        raise TrainingError(f"{run.folder}: no evaluation gave a number, so there are no best weights")
    facts = {"step": state.step, "best": asdict(best), "distortions": state.distortions, "seconds": state.seconds}
    write_json(run.folder / "result.json", facts)
    return best.step
