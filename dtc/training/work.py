"""The work of a worker process: opening a run directory and continuing the run from its newest checkpoint."""

from __future__ import annotations

import fnmatch
import json
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import onnx_ir as ir

from dtc.data import Batch, Source, count_batches, fitted
from dtc.errors import DataError, PartlyTrainedError, TrainingError
from dtc.graph import find_sites
from dtc.graph.opset import opset_of
from dtc.metrics import Metric, make_metric
from dtc.passes.method import DistortionStep
from dtc.passes.plan import Plan, make_plan
from dtc.recipe import Recipe, Rule
from dtc.training.engine import Engine
from dtc.training.engine_kind import engine_of, engine_title
from dtc.training.engine_settings import EngineSettings
from dtc.training.evaluate import Evaluation, Score
from dtc.training.events import Finished, Noted, Started
from dtc.training.intervals import IntervalTrials, Unrecorded, best_interval, candidates, trial_steps
from dtc.training.journal import Journal
from dtc.training.lock import only_worker
from dtc.training.loop import MEASURED_BATCHES, Retraining
from dtc.training.objective import resolve_objective
from dtc.training.progress import Progress
from dtc.training.run import Run, open_run
from dtc.training.schedule import TrainingSchedule
from dtc.training.session import Session
from dtc.training.snapshot import Snapshot, write_json
from dtc.training.targets import samples_axis

GRADIENTS = "gradients.npz"
SESSION = "session.json"
PROVING_BATCHES = 4
"""Batches on which an engine shows that it computes what the model computes."""


def _engine_of_recipe(model: ir.Model, resolved: Recipe, teacher: ir.Model | None) -> Engine:
    return engine_of(resolved).load()(model, EngineSettings.of(resolved), teacher)


@dataclass(frozen=True)
class Tools:
    """The functions that make engine, plan and metric in a worker; the defaults follow the recipe."""

    make_engine: Callable[[ir.Model, Recipe, ir.Model | None], Engine] = _engine_of_recipe
    make_plan: Callable[[ir.Model, Sequence[Rule], int | None], Plan] = make_plan
    make_metric: Callable[[str], Metric] = make_metric


@dataclass(frozen=True)
class Assignment:
    """What a worker is asked to do with a run directory.

    Attributes:
        job: `train`, or `gradients`, which measures them and trains nothing.
        engine: The engine to do it with; empty for the one of the recipe.
        whole: To decline with PartlyTrainedError unless all sites that are compressed can be trained.
        remark: A line for the record of a run that begins.
    """

    job: Literal["train", "gradients"] = "train"
    engine: str = ""
    whole: bool = False
    remark: str = ""

    def to_json(self) -> str:
        """Return the assignment as an argument of the worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the assignment that `to_json` described."""
        return cls(**json.loads(text))

    def opened(self, folder: Path) -> Run:
        """Open a run, its recipe naming the engine."""
        run = open_run(folder)
        if not self.engine:
            return run
        training = run.training.model_copy(update={"engine": self.engine})
        return replace(run, recipe=run.recipe.model_copy(update={"training": training}))


TRAIN = Assignment()
"""The usual one: to train with the engine of the recipe."""


@dataclass(frozen=True)
class Beginning:
    """A run before its first step: its session, and the data that it trains and is evaluated on."""

    session: Session
    data: Source
    evaluation: Evaluation


def work(
    folder: Path, tools: Tools, *, should_stop: Callable[[], bool], session: str = "", assignment: Assignment = TRAIN
) -> bool:
    """Carry a run on to its end, or until `should_stop`; return whether it is the end.

    `session.json` then holds the name of the session and the byte of `metrics.jsonl` at which its events begin.

    Raises:
        DtcError: Whatever is wrong with the run, in words for the user.
    """
    run = assignment.opened(folder)
    with only_worker(folder):
        # 1. The run as at its beginning, then as at its newest checkpoint; nothing on the disk changes so far.
        begun, snapshot = begin(run, tools, whole=assignment.whole), Snapshot.newest(run.checkpoints)
        begun.session.restore(snapshot)
        # How many steps there are is decided once: it may take a pass over the data to count them.
        progress = begun.session.progress
        progress.steps = progress.steps or _total_steps(run.recipe, begun.data)
        # 2. What was written after that checkpoint goes, and the parent is told where this session's events begin.
        with closing(Journal.open(run, snapshot)) as journal:
            before, trainer = _trainer_before(folder), engine_title(run.recipe)
            write_json(folder / SESSION, {"session": session, "offset": journal.offset, "trainer": trainer})
            if journal.offset == 0:
                journal.log(_started(begun.session, begun.evaluation.source.words))
                if assignment.remark:
                    journal.log(Noted(0, assignment.remark))
                run = _with_interval(run, progress.steps, journal, _trial_of(run, assignment, tools, should_stop))
                if run.training.distort_every == "auto" and run.recipe.rules:
                    return False
            elif before not in (trainer, None):
                words = f"goes on with {trainer}, after {before}: not bit for bit as it would have gone on with that"
                journal.log(Noted(progress.step, words))
            # 3. The training itself.
            schedule = TrainingSchedule.of(run.recipe, progress.steps)
            retraining = Retraining(begun.session, begun.data, begun.evaluation, schedule, journal)
            ended = retraining.run(should_stop)
            if ended:
                journal.log(Finished(progress.step, _write_result(run, progress)))
    return ended


def _trainer_before(folder: Path) -> str | None:
    """Return what trained in the session before this one, None where there was none."""
    try:
        told = json.loads((folder / SESSION).read_text(encoding="utf-8")).get("trainer")
    except (OSError, ValueError):
        return None
    return None if told is None else str(told)


def _trial_of(
    run: Run, assignment: Assignment, tools: Tools, should_stop: Callable[[], bool]
) -> Callable[[int, int], Score | None]:
    """Return what tries an interval between distortions in so many steps, from the beginning of the run."""

    def trial(interval: int, steps: int) -> Score | None:
        begun = begin(run, tools, whole=assignment.whole)
        begun.session.progress.steps = steps
        own = replace(TrainingSchedule.of(run.recipe, steps), distort_every=interval, evaluate_every=steps, average=0)
        try:
            if not Retraining(begun.session, begun.data, begun.evaluation, own, Unrecorded()).run(should_stop):
                return None
        except TrainingError:
            return Score(math.nan)  # an interval with which training goes astray is no candidate
        best = begun.session.progress.best
        return Score(math.nan) if best is None else best.score

    return trial


def _with_interval(run: Run, steps: int, journal: Journal, trial: Callable[[int, int], Score | None]) -> Run:
    """Return the run with the interval between distortions that trials find, where it is told to find one.

    It is `auto` still where a trial was told to stop. What was found is written into the recipe of the run.
    """
    trials, scores = IntervalTrials(run.folder, steps, trial), dict[int, Score]()
    if not run.recipe.rules or (run.training.distort_every != "auto" and not trials.begun):
        return run
    for interval, score in trials.carry_out():
        scores[interval] = score
        words = f"{score.metric or 'loss'} {score.loss if score.value is None else score.value:.5g}"
        journal.log(Noted(0, f"tried an interval of {interval} steps: {words} after {trial_steps(steps)} steps"))
    if len(scores) < len(candidates(steps)):
        return run
    chosen = best_interval(scores)
    journal.log(Noted(0, f"the best interval was that of {chosen} steps"))
    return run.retold(distort_every=chosen)


def leave_gradients(folder: Path, tools: Tools, assignment: Assignment) -> None:
    """Write the mean magnitude of each gradient over the first batches to the run directory, without training."""
    run = assignment.opened(folder)
    model = run.load_model()
    samples = run.samples(model).train
    assert samples is not None, "a recipe with training has data"
    source = fitted(samples, model, run.recipe.objective)
    session = _begin_session(run, model, _resolved(run, model, source), source, tools)
    batches = source.batches(epoch=0, seed=session.seed, shuffle=not session.carry)
    session.measure_gradients(islice(batches, MEASURED_BATCHES))
    arrays: dict[str, Any] = session.progress.gradients.means()
    np.savez(folder / GRADIENTS, **arrays)


def begin(run: Run, tools: Tools, *, whole: bool = False) -> Beginning:
    """Return session, data and evaluation of a run before its first step; the run directory is only read.

    Raises:
        PartlyTrainedError: Not the `whole` of what is compressed can be trained.
    """
    model, wanted = run.load_model(), run.recipe.objective
    train, evaluate = (fitted(source, model, wanted) for source in run.samples(model).for_training())
    resolved = _resolved(run, model, train)
    session = _begin_session(run, model, resolved, train, tools, whole=whole)
    # A new metric for each evaluation: it sums up over batches, and would remember the evaluation before.
    objective, metric = resolved.objective, resolved.objective.metric
    evaluation = Evaluation(
        source=evaluate,
        carry=session.carry,
        make_metric=None if metric is None else lambda: tools.make_metric(metric),
        objective=objective,
        seed=resolved.seed,
        samples=samples_axis(model.graph, objective),
        from_loss=(metric, objective.loss) == ("perplexity", "cross-entropy"),
    )
    return Beginning(session, train, evaluation)


def _resolved(run: Run, model: ir.Model, train: Source) -> Recipe:
    """Return the recipe with its objective resolved by the first batch: only the data says what `auto` means."""
    wanted = run.recipe.objective
    output = next((each for each in model.graph.outputs if wanted.output in (None, each.name)), None)
    objective = resolve_objective(wanted, _first_batch(train, run.recipe.seed), output)
    if objective.loss == "distill" and run.recipe.training is not None and run.recipe.training.distill:
        raise DataError(
            f"--distill is beside a loss of labels, but the data has no array {wanted.labels!r}; name it with "
            "--labels, or leave out --distill: without labels a model learns from the original's outputs alone"
        )
    return run.recipe.model_copy(update={"objective": objective})


def _begin_session(
    run: Run, model: ir.Model, resolved: Recipe, train: Source, tools: Tools, *, whole: bool = False
) -> Session:
    """Return the session of a run before its first step, its engine proven on some of the data."""
    # A run without rules trains and distorts nothing: its plan is empty.
    plan = Plan((), (), {}, opset_of(model))
    if resolved.rules:
        plan = tools.make_plan(model, resolved.rules, resolved.lean.rest_bits)
    engine, grams = _make_engine(run, resolved, plan, tools, whole=whole), run.moments().gram_of
    session = Session.begin(model, resolved, engine, plan, grams)
    some = islice(train.batches(epoch=0, seed=resolved.seed, shuffle=False), PROVING_BATCHES)
    engine.prove(session.carry.join(batch, {}) for batch in some)
    return session


def _make_engine(run: Run, resolved: Recipe, plan: Plan, tools: Tools, *, whole: bool) -> Engine:
    """Return the engine of a run; sites that the engine cannot train are distorted once before training, for good."""
    # 1. The engine of the model as it is tells which sites it can train. Distillation learns from the model without
    #    rounded activations; without these it is the model itself.
    model = run.load_model()
    teacher = run.load_model(quantized=False) if run.quantizations() else None
    engine = tools.make_engine(model, resolved, teacher)
    untrained = [site for site in find_sites(model) if site.name not in engine.parameters]
    if whole:
        _decline_a_part(plan, engine, resolved)
    if not untrained:
        return engine
    # 2. The others are distorted now and for good, so that training sees the error that they will have in the end.
    dense = plan.distort({}, DistortionStep(seed=resolved.seed), {}, {}, run.moments().gram_of).dense
    fixed = [site for site in untrained if site.name in dense]
    for site in fixed:
        site.assign(dense[site.name])
    # 3. The model has changed under the engine: a new one, that learns from the original as it was before.
    return tools.make_engine(model, resolved, run.load_model(quantized=False)) if fixed else engine


def _decline_a_part(plan: Plan, engine: Engine, resolved: Recipe) -> None:
    """Stop if the engine cannot train a site that is to be compressed, unless the user had it frozen."""
    assert resolved.training is not None, "a run has training"
    freeze, taken = resolved.training.freeze, [site.name for site in plan.taken]
    left = [
        name
        for name in taken
        if name not in engine.parameters and not any(fnmatch.fnmatchcase(name, glob) for glob in freeze)
    ]
    if left:
        reason = engine.frozen.get(left[0], "it is not taken for a weight")
        raise PartlyTrainedError(f"trains {len(taken) - len(left)} of {len(taken)} sites: not {left[0]!r}, {reason}")


def _total_steps(recipe: Recipe, train: Source) -> int:
    training = recipe.training
    assert training is not None, "an opened run has training"
    return training.steps or math.ceil(training.epochs * count_batches(train, recipe.seed))


def _first_batch(source: Source, seed: int) -> Batch:
    for batch in source.batches(epoch=0, seed=seed, shuffle=False):
        return batch
    raise DataError(f"{source.name}: has no batches")


def _started(session: Session, evaluated_on: str) -> Started:
    """Return the start of a run, after a trial that shows before the training what is wrong with the rules."""
    # The trial takes no part in the run, so its time is taken back.
    trial = session.tried()
    session.progress.seconds["distortion"] = 0.0
    engine = session.engine
    trained = sum(math.prod(array.shape) for array in engine.parameters.values())
    skipped = dict(trial.skipped)
    return Started(session.progress.steps, trained, dict(engine.frozen), skipped, evaluated_on=evaluated_on)


def _write_result(run: Run, progress: Progress) -> int:
    """Write `result.json`; return the step of the best weights."""
    best = progress.best
    if best is None:
        raise TrainingError(f"{run.folder}: no evaluation gave a number, so there are no best weights")
    facts = {"step": progress.step, "best": asdict(best), "distortions": progress.distortions}
    write_json(run.folder / "result.json", {**facts, "seconds": progress.seconds})
    return best.step
