"""The occasional distortion (J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018, arXiv 1810.12823, section 2).

Training is ordinary, in full precision. Every `distort_every` steps the weights are replaced by their distorted
version, and training goes on from there; it ends on a distortion. Only distorted weights are evaluated, and the
best of those are the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dtc import recipe
from dtc.data import Batch, Source
from dtc.errors import DataError, TrainingError
from dtc.forms import Array, Form
from dtc.passes.method import Moment
from dtc.training.carry import Carry
from dtc.training.engine import Arrays, Engine, Parameters
from dtc.training.evaluate import Evaluation, Score
from dtc.training.events import DistortedWeights, Evaluated, Event, Stepped
from dtc.training.optimizer import Optimizer
from dtc.training.schedule import learning_rate
from dtc.training.state import Best, State, put_on, wearing


class Distorted(Protocol):
    """Distorted weights: float32 arrays by initializer, the forms they come from by site, and sites left alone."""

    @property
    def dense(self) -> Mapping[str, Array]:
        """The weights as the compressed model will compute with them."""
        ...

    @property
    def forms(self) -> Mapping[str, tuple[Form, ...]]:
        """The compressed forms; what is exported, because a method is never run again on distorted weights."""
        ...

    @property
    def skipped(self) -> Mapping[str, str]:
        """Sites that were left alone, and why."""
        ...


class Distort(Protocol):
    """A distortion of all chosen sites: a pure function of parameters and moment."""

    def __call__(self, parameters: Mapping[str, Array], moment: Moment, /) -> Distorted:
        """Return the distorted version; `parameters` stay as they are."""
        ...


class Record(Protocol):
    """Where a run leaves its traces."""

    def log(self, event: Event) -> None:
        """Write an event."""
        ...

    def checkpoint(self, state: State, parameters: Parameters, optimizer: Mapping[str, Array]) -> None:
        """Save everything that resuming needs, whole or not at all."""
        ...

    def keep_best(self, best: Best, parameters: Parameters, distorted: Distorted) -> None:
        """Save the best weights so far and their forms."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long, and what happens at which step (steps count from 1); no distortion where `distort_every` is None."""

    steps: int
    distort_every: int | None
    evaluate_every: int | None
    checkpoint_every: int
    rate: float
    schedule: recipe.Schedule
    shuffle: bool
    seed: int

    def distorts_at(self, step: int) -> bool:
        """True every `distort_every` steps, and at the end."""
        return self.distort_every is not None and (step % self.distort_every == 0 or step == self.steps)

    def evaluates_at(self, step: int, *, ends_epoch: bool) -> bool:
        """True every `evaluate_every` steps or, without that, once an epoch; and at the end."""
        due = ends_epoch if self.evaluate_every is None else step % self.evaluate_every == 0
        return due or step == self.steps


@dataclass
class Retraining:
    """A run in the making: `run` carries it from the present state to the end."""

    engine: Engine
    optimizer: Optimizer
    distort: Distort
    data: Source
    carry: Carry
    evaluation: Evaluation
    plan: Plan
    record: Record
    state: State

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or to the first step after which `should_stop` says so; return whether it is the end.

        Raises:
            TrainingError: A loss or a gradient is not finite; the last checkpoint stays as it is.
            DataError: An epoch has no batches.
        """
        plan, state = self.plan, self.state
        stopped = False
        while state.step < plan.steps and not stopped:
            for batch, ends_epoch in self._batches():
                fed = self._train_on(batch)
                distorted = self._distort_in_place(fed) if plan.distorts_at(state.step) else None
                if plan.evaluates_at(state.step, ends_epoch=ends_epoch):
                    self._evaluate(distorted)
                state.advance(ends_epoch=ends_epoch)
                stopped = should_stop()
                if state.step % plan.checkpoint_every == 0 or state.step == plan.steps or stopped:
                    self._checkpoint()
                if state.step == plan.steps or stopped:
                    break
        return state.step == plan.steps

    def _checkpoint(self) -> None:
        with self.state.timed("checkpoint"):
            self.record.checkpoint(self.state, self.engine.parameters, self.optimizer.state)

    def _batches(self) -> Iterator[tuple[Batch, bool]]:
        """Yield the rest of the epoch, each batch with whether it is the last: one batch is read ahead."""
        state, plan = self.state, self.plan
        batches = self.data.batches(epoch=state.epoch, seed=plan.seed, shuffle=plan.shuffle, start=state.position)
        with state.timed("data"):
            batch = next(batches, None)
        if batch is None:
            raise DataError(f"{self.data.name}: epoch {state.epoch} has no batch number {state.position}")
        while batch is not None:
            with state.timed("data"):
                following = next(batches, None)
            yield batch, following is None
            batch = following

    def _train_on(self, batch: Batch) -> Arrays:
        """Take one optimizer step; return the batch with its carried inputs."""
        plan, state = self.plan, self.state
        fed = self.carry.join(batch, state.carry)
        rate = learning_rate(plan.schedule, plan.rate, step=state.step, steps=plan.steps, epoch=state.epoch)
        state.step += 1
        with state.timed("step"):
            result = self.engine.step(fed, seed=step_seed(plan.seed, state.step))
            _check_finite(result.loss, state.step, "loss")
            norm = self.optimizer.step(self.engine.parameters, result.gradients, rate=rate, t=state.step)
            state.carry = self.carry.take(result.outputs)
        self.record.log(Stepped(state.step, state.epoch, float(result.loss), rate, norm))
        return fed

    def distorted(self) -> Distorted:
        """Return the present weights distorted; they stay as they are."""
        moment = Moment(self.state.step, self.plan.steps, self.plan.seed)
        with self.state.timed("distortion"):
            return self.distort(self.engine.parameters, moment)

    def _distort_in_place(self, fed: Arrays) -> Distorted:
        """Replace the weights by their distorted version; the optimizer's state stays as it is."""
        state = self.state
        with state.timed("evaluation"):
            before, _ = self.engine.loss(fed)
        _check_finite(before, state.step, "loss before the distortion")
        distorted = self.distorted()
        put_on(self.engine.parameters, distorted.dense)
        with state.timed("evaluation"):
            after, _ = self.engine.loss(fed)
        _check_finite(after, state.step, "loss after the distortion")
        state.distortions += 1
        self.record.log(DistortedWeights(state.step, state.distortions, float(before), float(after)))
        return distorted

    def _evaluate(self, distorted: Distorted | None) -> None:
        """Evaluate the distorted weights, or a distorted copy where this step was no distortion."""
        state = self.state
        in_place, distorted = distorted is not None, distorted or self.distorted()
        with wearing(self.engine.parameters, {} if in_place else distorted.dense):
            with state.timed("evaluation"):
                score = self.evaluation(self.engine)
            best = score.beats(state.best.score if state.best else None)
            if best:
                state.best = Best(state.step, score)
                self.record.keep_best(state.best, self.engine.parameters, distorted)
        self.record.log(_evaluated(state.step, score, best=best))


def step_seed(seed: int, step: int) -> int:
    """Return the seed of a step's randomness: nothing of it depends on the steps before, so a run can be resumed."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def _check_finite(loss: float, step: int, what: str) -> None:
    if not math.isfinite(loss):
        raise TrainingError(f"step {step}: the {what} is {loss}; lower the learning rate, or clip the gradient")


def _evaluated(step: int, score: Score, *, best: bool) -> Evaluated:
    # JSON has no NaN: a score that is none is left out.
    loss, value = (v if v is not None and math.isfinite(v) else None for v in (score.loss, score.value))
    return Evaluated(step, loss, score.metric, value, best)
