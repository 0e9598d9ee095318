"""The occasional distortion (J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018, arXiv 1810.12823, section 2).

Training is ordinary, in full precision. Every `distort_every` steps the weights are replaced by their distorted
version, and training goes on from there; it ends on a distortion. Only distorted weights are evaluated, and the best of
those are the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dtc import recipe
from dtc.data import Batch, Source
from dtc.errors import DataError, TrainingError
from dtc.forms import Array, Form
from dtc.passes.method import Moment, Need
from dtc.training import statistics
from dtc.training.carry import Carry
from dtc.training.engine import Arrays, Engine, Parameters
from dtc.training.evaluate import Evaluation, Score
from dtc.training.events import DistortedWeights, Evaluated, Event, Iterated, Stepped
from dtc.training.known import Known, Latents
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


class Methods(Protocol):
    """The methods of a run, and the sites that they have."""

    @property
    def needs(self) -> frozenset[Need]:
        """What the run has to remember for them."""
        ...

    def distort(
        self,
        parameters: Mapping[str, Array],
        moment: Moment,
        previous: Mapping[str, tuple[Form, ...]],
        gradients: Mapping[str, Array],
        /,
    ) -> Distorted:
        """Return all sites distorted: a pure function, `parameters` stay as they are."""
        ...

    def settled(self, moment: Moment, /) -> bool:
        """True where distortions have their full strength; before, weights are no candidates for the best ones."""
        ...

    def masks(self, forms: Mapping[str, tuple[Form, ...]], /) -> Mapping[str, npt.NDArray[np.bool_]]:
        """Return which weights training may change until the next distortion, for methods that keep a mask."""
        ...

    def latents(self, forms: Mapping[str, tuple[Form, ...]], trained: Container[str], /) -> Latents | None:
        """Return what is to be trained from now on in place of some parameters, for methods that have that."""
        ...


class Record(Protocol):
    """Where a run leaves its traces."""

    def log(self, event: Event) -> None:
        """Write an event."""
        ...

    def checkpoint(self, state: State, parameters: Parameters, optimizer: Mapping[str, Array], known: Known) -> None:
        """Save everything that resuming needs, whole or not at all."""
        ...

    def keep_best(self, best: Best, parameters: Parameters, distorted: Distorted) -> None:
        """Save the best weights so far and their forms."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long, and what happens at which step (steps count from 1); no distortion where `distort_every` is None.

    With `iteration`, distortions lie that many epochs apart instead, the schedule of the learning rate begins anew
    after each, and the run ends when `patience` evaluations in a row were no better: retraining-based iterative
    quantization (D. Lee, B. Kim, 2018, arXiv 1805.11233), which is the occasional distortion with a long interval.
    """

    steps: int
    distort_every: int | None
    evaluate_every: int | None
    checkpoint_every: int
    rate: float
    schedule: recipe.Schedule
    shuffle: bool
    seed: int
    iteration: int | None = None
    patience: int | None = None

    def distorts_at(self, step: int, epoch: int, *, ends_epoch: bool) -> bool:
        """True every `distort_every` steps, or `iteration` epochs, and at the end."""
        if self.distort_every is None:
            return False
        due = self._ends_iteration(epoch, ends_epoch) if self.iteration else step % self.distort_every == 0
        return due or step == self.steps

    def evaluates_at(self, step: int, epoch: int, *, ends_epoch: bool) -> bool:
        """True every `evaluate_every` steps or, without that, once an epoch or iteration; and at the end."""
        due = ends_epoch if self.evaluate_every is None else step % self.evaluate_every == 0
        if self.iteration:
            due = self._ends_iteration(epoch, ends_epoch)
        return due or step == self.steps

    def learning_rate(self, step: int, epoch: int) -> float:
        """Return the rate of a step (from 0) in an epoch (from 0)."""
        if self.iteration is None:
            return learning_rate(self.schedule, self.rate, step=step, steps=self.steps, epoch=epoch)
        within = epoch % self.iteration
        return learning_rate(self.schedule, self.rate, step=within, steps=self.iteration, epoch=within)

    def _ends_iteration(self, epoch: int, ends_epoch: bool) -> bool:  # noqa: FBT001 - a fact of the batch
        return ends_epoch and self.iteration is not None and (epoch + 1) % self.iteration == 0


@dataclass
class Retraining:
    """A run in the making: `run` carries it from the present state to the end."""

    engine: Engine
    optimizer: Optimizer
    methods: Methods
    data: Source
    carry: Carry
    evaluation: Evaluation
    plan: Plan
    record: Record
    state: State
    known: Known = field(default_factory=Known)

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or to the first step after which `should_stop` says so; return whether it is the end.

        Raises:
            TrainingError: A loss or a gradient is not finite; the last checkpoint stays as it is.
            DataError: An epoch has no batches.
        """
        plan, state = self.plan, self.state
        stopped = False
        while not (self._ended() or stopped):
            for batch, ends_epoch in self._batches():
                fed = self._train_on(batch)
                distorted = self._distort_in_place(fed) if self._distorts(ends_epoch=ends_epoch) else None
                if plan.evaluates_at(state.step, state.epoch, ends_epoch=ends_epoch):
                    self._evaluate(distorted)
                state.advance(ends_epoch=ends_epoch)
                stopped = should_stop()
                if state.step % plan.checkpoint_every == 0 or self._ended() or stopped:
                    self._checkpoint()
                if self._ended() or stopped:
                    break
        return self._ended()

    def _ended(self) -> bool:
        out_of_patience = self.plan.patience is not None and self.state.stale >= self.plan.patience
        return self.state.step >= self.plan.steps or out_of_patience

    def _distorts(self, *, ends_epoch: bool) -> bool:
        return self.plan.distorts_at(self.state.step, self.state.epoch, ends_epoch=ends_epoch)

    def _checkpoint(self) -> None:
        with self.state.timed("checkpoint"):
            self.record.checkpoint(self.state, self.engine.parameters, self.optimizer.state, self.known)

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
        rate = plan.learning_rate(state.step, state.epoch)
        state.step += 1
        with state.timed("step"):
            result = self.engine.step(fed, seed=step_seed(plan.seed, state.step))
            _check_finite(result.loss, state.step, "loss")
            norm = self._update(result.gradients, rate)
            self.known.see(result.gradients)
            for name, mask in self.known.masks.items():
                self.engine.parameters[name] *= mask
            state.carry = self.carry.take(result.outputs)
        self.record.log(Stepped(state.step, state.epoch, float(result.loss), rate, norm))
        return fed

    def _update(self, gradients: Parameters, rate: float) -> float:
        """Let the optimizer change what is trained; return the norm of the gradients."""
        parameters, latents, t = self.engine.parameters, self.known.latents, self.state.step
        if latents is None:
            return self.optimizer.step(parameters, gradients, rate=rate, t=t)
        norm = self.optimizer.step({**parameters, **latents.arrays}, latents.gradients(gradients), rate=rate, t=t)
        put_on(parameters, self.known.renewed())
        return norm

    def distorted(self) -> Distorted:
        """Return the present weights distorted; they stay as they are."""
        known = self.known
        with self.state.timed("distortion"):
            return self.methods.distort(self.engine.parameters, self._moment(), known.forms, known.gradients())

    def _moment(self) -> Moment:
        return Moment(self.state.step, self.plan.steps, self.plan.seed)

    def _distort_in_place(self, fed: Arrays) -> Distorted:
        """Replace the weights by their distorted version; the optimizer's state stays as it is."""
        state = self.state
        before = self._loss(fed, "before")
        distorted = self.distorted()
        if self.plan.iteration:
            self._log_quantization_loss(distorted)
        put_on(self.engine.parameters, distorted.dense)
        self.known.distorted(distorted.forms, self.methods.masks(distorted.forms))
        self._train_latents()
        after = self._loss(fed, "after")
        state.distortions += 1
        self.record.log(DistortedWeights(state.step, state.distortions, before, after))
        return distorted

    def _train_latents(self) -> None:
        """From the first distortion of full strength on, train what methods have in place of the weights."""
        known, parameters = self.known, self.engine.parameters
        if known.latents is None and self.methods.settled(self._moment()):
            latents = self.methods.latents(known.forms, parameters)
            if latents is not None:
                known.hold(latents)
                self.optimizer.begin(latents.arrays, t=self.state.step)

    def _loss(self, fed: Arrays, when: str) -> float:
        """Return the loss of the present weights on a batch, by its own moments as in training."""
        engine, state = self.engine, self.state
        with state.timed("evaluation"), wearing(engine.statistics, statistics.of_batch(engine, fed)):
            loss, _ = engine.loss(fed)
        _check_finite(loss, state.step, f"loss {when} the distortion")
        return float(loss)

    def _score(self) -> Score:
        """Return the score of the present weights, and leave the engine with statistics that are theirs."""
        with self.state.timed("evaluation"):
            batches = self.data.batches(epoch=0, seed=self.plan.seed, shuffle=self.plan.shuffle)
            put_on(self.engine.statistics, statistics.measured(self.engine, batches, self.carry))
            return self.evaluation(self.engine)

    def _log_quantization_loss(self, distorted: Distorted) -> None:
        """Log how far the distorted weights are from the trained ones, and what the latter are worth."""
        state, score = self.state, self._score()
        pairs = [
            (self.engine.parameters[n], dense) for n, dense in distorted.dense.items() if n in self.engine.parameters
        ]
        error = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in pairs)
        scale = sum(float(np.square(a, dtype=np.float64).sum()) for a, _ in pairs)
        error = error / scale if scale else 0.0
        self.record.log(Iterated(state.step, state.distortions + 1, error, score.loss, score.value))

    def _evaluate(self, distorted: Distorted | None) -> None:
        """Evaluate the distorted weights, or a distorted copy where this step was no distortion."""
        state = self.state
        in_place, distorted = distorted is not None, distorted or self.distorted()
        with wearing(self.engine.parameters, {} if in_place else distorted.dense):
            score = self._score()
            settled = self.methods.settled(self._moment())
            best = settled and score.beats(state.best.score if state.best else None)
            state.stale = 0 if best or not settled else state.stale + 1
            if best:
                state.best = Best(state.step, score)
                self.record.keep_best(state.best, {**self.engine.parameters, **self.engine.statistics}, distorted)
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
