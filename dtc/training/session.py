"""One session of a run: the changes that a step and a distortion make. The loop decides when each happens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import onnx_ir as ir

from dtc.data import Batch
from dtc.device_arrays import beside, fill, namespace, on_host
from dtc.errors import TrainingError
from dtc.forms import AnyArray
from dtc.graph import Site
from dtc.graph.signature import Arrays
from dtc.passes.method import DistortionStep, Gram
from dtc.passes.plan import Distorted, Plan
from dtc.recipe import Recipe
from dtc.training import statistics
from dtc.training.carry import Carry
from dtc.training.draws import step_seed
from dtc.training.engine import Engine, Live
from dtc.training.optimizer import ArrayOptimizer, make_optimizer
from dtc.training.progress import MeanMagnitudes, Progress
from dtc.training.snapshot import Snapshot
from dtc.training.swap import assign, swapped


@dataclass(frozen=True)
class StepTaken:
    """One optimizer step: the batch with its carried inputs, its loss, and the norm of its gradient before clipping."""

    fed: Arrays
    loss: float
    norm: float


@dataclass
class Session:
    """The state of a run in this process; `restore` sets the state that an earlier session saved.

    Attributes:
        engine: Holds the parameters.
        optimizer: Holds a state for each of them.
        plan: The methods of the run and their sites.
        carry: Which outputs are inputs of the next batch.
        seed: Of everything random.
        grams: Gives what computes the second moments of a site's inputs, as they were before the training.
        progress: All else that changes from step to step.
    """

    engine: Engine
    optimizer: ArrayOptimizer
    plan: Plan
    carry: Carry
    seed: int
    grams: Callable[[Site], Gram | None] = lambda _: None
    progress: Progress = field(default_factory=Progress)

    @classmethod
    def begin(
        cls,
        model: ir.Model,
        recipe: Recipe,
        engine: Engine,
        plan: Plan,
        grams: Callable[[Site], Gram | None] = lambda _: None,
    ) -> Self:
        """Return the session of a new run.

        Raises:
            UsageError: The model has no output or input of the carried state.
        """
        assert recipe.training is not None, "a run has training"
        optimizer = make_optimizer(recipe.training.optimizer, engine.parameters, engine.positive)
        return cls(engine, optimizer, plan, Carry(model, recipe.objective.carry), recipe.seed, grams)

    def snapshot(self) -> Snapshot:
        """Return everything that `restore` needs, in host memory; it may be live, so save it before the next step.

        Raises:
            TrainingError: A parameter is not finite.
        """
        # Asked before anything is written: a run that resumes from NaN would never leave it, while the checkpoint
        # before this one is still good.
        for name, array in self.engine.parameters.items():
            if not namespace(array).isfinite(array).all():
                where = f"step {self.progress.step}: parameter {name!r}"
                raise TrainingError(f"{where} is not finite; lower the learning rate")
        progress = self.progress.to_snapshot()
        engine, optimizer = self.engine, self.optimizer
        arrays: dict[str, Any] = {f"parameter/{name}": on_host(array) for name, array in engine.parameters.items()}
        arrays |= {f"optimizer/{name}": on_host(array) for name, array in optimizer.state.items()}
        arrays |= {f"engine/{name}": array for name, array in engine.state.items()}
        return Snapshot({**arrays, **progress.arrays}, progress.facts)

    def restore(self, snapshot: Snapshot) -> None:
        """Bring engine, optimizer and progress to where `snapshot` was taken; an empty one changes nothing.

        Raises:
            TrainingError: The snapshot is of another model or optimizer.
        """
        if not snapshot:
            return
        # 1. Progress first, because the latents in it decide which states the optimizer has.
        self.progress = Progress.from_snapshot(snapshot, self.plan, self.engine.parameters)
        if self.progress.latents is not None:
            # An optimizer takes in latents in the course of a run; when that was, its saved state says.
            self.optimizer.begin(self.progress.latents.arrays, t=self.progress.step)
        # 2. Numbers are written into the live arrays: engine and optimizer keep views of them, and would not see new
        #    arrays.
        for prefix, live in (("parameter", self.engine.parameters), ("optimizer", self.optimizer.state)):
            saved = snapshot.below(prefix)
            if saved.keys() != live.keys():
                raise TrainingError(
                    "the checkpoint belongs to another model or optimizer, or to an engine that trains other weights; "
                    "start a new run, or go on with the engine that it began with"
                )
            for name, array in saved.items():
                fill(live[name], array)
        # The run may have begun with another engine, or in another precision, whose state was another one.
        for name, array in snapshot.below("engine").items():
            if name in self.engine.state:
                fill(self.engine.state[name], array)
        self._lay_masks()

    def step(self, batch: Batch, rate: float) -> StepTaken:
        """Take one optimizer step, and carry its outputs to the next batch.

        Raises:
            TrainingError: The loss or a gradient is not finite.
        """
        progress, engine = self.progress, self.engine
        fed = self.carry.join(batch, progress.carry)
        # Counted first: seeds, events and the bias correction of Adam go by steps from 1.
        progress.step += 1
        with progress.timed("step"):
            result = engine.step(fed, seed=step_seed(self.seed, progress.step))
            # 1. A loss that is not finite stops the run before the update can spread it to all weights.
            _check_finite(result.loss, progress.step, "loss")
            # 2. The update. Gradients are summed for methods after it: the optimizer leaves them as they are.
            norm = self._update(result.gradients, rate)
            if "gradient" in self.plan.needs:
                progress.gradients.add(result.gradients)
            # 3. Masks are laid on the weights, not on the gradients: momentum, Adam's mean and weight decay move a
            #    weight even where its gradient is zero.
            for name, mask in progress.masks.items():
                engine.parameters[name] *= mask
            # 4. The state that the weights before this update gave, as in truncated back-propagation through time.
            progress.carry = self.carry.take(result.outputs)
        return StepTaken(fed, float(result.loss), norm)

    def _update(self, gradients: Live, rate: float) -> float:
        """Apply the optimizer to parameters and latents; return the norm of all gradients before clipping."""
        parameters, latents, t = self.engine.parameters, self.progress.latents, self.progress.step
        # 1. The usual case: what is trained are the initializers themselves.
        if latents is None:
            return self.optimizer.step(parameters, gradients, rate=rate, t=t)
        # 2. With latents (codewords, for one) their gradients follow from those of the weights that are made of them.
        #    These weights have no gradient of their own then, so the optimizer leaves them alone.
        # They are arithmetic in host memory, wherever the weights lie.
        slopes = latents.gradients({name: on_host(gradient) for name, gradient in gradients.items()})
        placed = {name: beside(slope, parameters.get(name, slope)) for name, slope in slopes.items()}
        norm = self.optimizer.step({**parameters, **latents.arrays}, placed, rate=rate, t=t)
        # The forms move with the latents: the next distortion starts from them.
        self.progress.forms |= latents.forms()
        assign(parameters, latents.dense())
        return norm

    @property
    def starts_distorted(self) -> bool:
        """True if training is to start from distorted weights: where these are told to make up for errors."""
        return bool(self.plan.compensated) and self.progress.step == 0 and self.progress.distortions == 0

    def distorted(self) -> Distorted:
        """Return a distorted copy of the present weights, which stay unchanged.

        Errors are made up for as long as a distortion takes something away: up to the first one of full strength. From
        there on training makes up for them, and moments of weights that are long gone would be in its way.
        """
        return self._distorted(without_moments if self.progress.settled else self.grams)

    def tried(self) -> Distorted:
        """Return what shows if the rules fit: a distorted copy whose errors are not made up for, which is quick."""
        return self._distorted(without_moments)

    def _distorted(self, grams: Callable[[Site], Gram | None]) -> Distorted:
        progress = self.progress
        with progress.timed("distortion"):
            means = progress.gradients.means()
            return self.plan.distort(self.engine.parameters, self._at(), progress.forms, means, grams)

    def measure_gradients(self, batches: Iterable[Batch]) -> None:
        """Take the mean magnitude of the gradients of the present weights over batches, for the next distortion."""
        # The engine's own step is asked for gradients, but no optimizer is: weights stay as they are. Dropout is drawn
        # anew for each batch, by its number.
        self.progress.gradients, carried = MeanMagnitudes(), dict[str, AnyArray]()
        for number, batch in enumerate(batches):
            result = self.engine.step(self.carry.join(batch, carried), seed=number)
            carried = self.carry.take(result.outputs)
            self.progress.gradients.add(result.gradients)

    def adopt(self, distorted: Distorted) -> None:
        """Replace the weights by distorted ones; the optimizer's state stays unchanged."""
        progress = self.progress
        # The order matters: masks are made of the new forms, and latents of `progress.forms`, which are set just
        # before.
        assign(self.engine.parameters, distorted.dense)
        progress.distortions += 1
        progress.settled = progress.settled or self.at_full_strength()
        # Methods are promised mean magnitudes since the last distortion, which is this one now.
        progress.gradients = MeanMagnitudes()
        progress.masks = self.plan.masks(distorted.forms)
        self._lay_masks()
        if "previous" in self.plan.needs:
            progress.forms = dict(distorted.forms)
        if progress.latents is None and self.at_full_strength():
            # From the first distortion of full strength on, methods may have something else trained than weights.
            progress.latents = self.plan.latents(progress.forms, self.engine.parameters)
            if progress.latents is not None:
                self.optimizer.begin(progress.latents.arrays, t=progress.step)

    def _lay_masks(self) -> None:
        """Put the masks where the parameters lie: they are multiplied after every step."""
        live = self.engine.parameters
        masks = self.progress.masks
        self.progress.masks = {name: beside(mask, live[name]) for name, mask in masks.items() if name in live}

    def at_full_strength(self) -> bool:
        """True if a distortion at this step has full strength (methods may begin weaker)."""
        return self.plan.at_full_strength(self._at())

    def loss(self, fed: Arrays, when: str) -> float:
        """Return the loss of the present weights on a batch, normalised by the moments of the batch as in training.

        Raises:
            TrainingError: The loss is not finite; `when` says in words which loss it was.
        """
        with self.progress.timed("evaluation"):
            # In training BatchNormalization goes by the batch. With the engine's statistics instead, which are of other
            # weights, the jump at a distortion would be mixed with the error of the statistics.
            own = statistics.of_batch(self.engine, fed)
            with swapped(self.engine.statistics, own):
                loss, _ = self.engine.loss(fed)
        _check_finite(loss, self.progress.step, f"loss {when}")
        return float(loss)

    def measure_statistics(self, batches: Iterable[Batch]) -> None:
        """Measure the BatchNormalization statistics of the present weights on the first batches, and set them."""
        assign(self.engine.statistics, statistics.measured(self.engine, iter(batches), self.carry))

    def _at(self) -> DistortionStep:
        return DistortionStep(self.progress.step, self.progress.steps, self.seed)


def without_moments(_: Site) -> Gram:
    """Give no moments: errors are not made up for."""
    return lambda: None


def _check_finite(loss: float, step: int, what: str) -> None:
    if not math.isfinite(loss):
        raise TrainingError(f"step {step}: the {what} is {loss}; lower the learning rate, or clip the gradient")
