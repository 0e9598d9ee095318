"""The schedule of a run: at which steps it distorts, evaluates and saves, and the learning rate of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from dtc.recipe import Recipe, Schedule


def learning_rate(schedule: Schedule, base: float, *, step: int, steps: int, epoch: int) -> float:
    """Return the rate of optimizer step number `step` (from 0) of `steps`, in epoch number `epoch` (from 0).

    `cosine` is I. Loshchilov, F. Hutter: SGDR, 2016 (arXiv 1608.03983), equation (5) with one period and a lower
    end of 0. `decay` is W. Zaremba et al., 2014 (arXiv 1409.2329), section 4.1: the first `after` epochs, and at
    least the first one, have the full rate.
    """
    # With base 0.1 and factor 0.5: `step` every 2 epochs gives 0.1 0.1 0.05 0.05; `decay` after 2 gives 0.1 0.1 0.05
    # 0.025; `cosine` over 4 steps gives 0.1 0.085 0.05 0.015, and would be 0 at a fifth.
    match schedule.kind:
        case "constant":
            return base
        case "step":
            return base * schedule.factor ** (epoch // schedule.every)
        case "cosine":
            return base * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        case "decay":
            return base * schedule.factor ** max(0, epoch + 1 - max(1, schedule.after))


@dataclass(frozen=True)
class TrainingSchedule:
    """The length of a run and the steps at which it distorts, evaluates and saves (steps count from 1).

    There are no distortions where `distort_every` is None. With `iteration`, distortions lie that many epochs apart
    instead, the learning rate begins anew after each, and the run ends when `patience` evaluations in a row were no
    better: retraining-based iterative quantization (D. Lee, B. Kim, 2018, arXiv 1805.11233), which is the occasional
    distortion with a long interval. Of the last `average` distortions the mean is looked at, too.
    """

    steps: int
    distort_every: int | None
    evaluate_every: int | None
    checkpoint_every: int
    base_rate: float
    rates: Schedule
    iteration: int | None = None
    patience: int | None = None
    average: int = 0

    @classmethod
    def of(cls, recipe: Recipe, steps: int) -> Self:
        """Return the schedule that a recipe asks for; without rules nothing is distorted, and all steps are taken."""
        training = recipe.training
        assert training is not None, "a run has training"
        # Iterations have their own rhythm, in epochs; `auto` is a number by the time that something is distorted.
        interval = steps if training.distort_every == "auto" else training.distort_every
        iterative = training.mode == "iterative"
        return cls(
            steps=steps,
            distort_every=interval if recipe.rules else None,
            evaluate_every=training.evaluate_every,
            checkpoint_every=training.checkpoint_every,
            base_rate=training.optimizer.learning_rate,
            rates=training.schedule,
            iteration=training.iteration_epochs if iterative else None,
            patience=training.patience if iterative and recipe.rules else None,
            average=training.average,
        )

    def distorts_at(self, step: int, epoch: int, *, ends_epoch: bool) -> bool:
        """True every `distort_every` steps, or `iteration` epochs, and at the end."""
        if self.distort_every is None:
            return False
        # Whichever rhythm holds, the last step distorts: the result of a run is distorted weights, never trained ones.
        due = self._ends_iteration(epoch, ends_epoch) if self.iteration else step % self.distort_every == 0
        return due or step == self.steps

    def averages_at(self, step: int) -> bool:
        """True at the last `average` distortions of a run."""
        if self.distort_every is None or self.iteration:
            return False
        # Every 20 steps of 50: after step 20 there are two more distortions, of which the last one comes early.
        more = -(-(self.steps - step) // self.distort_every)
        return more < self.average

    def evaluates_at(self, step: int, epoch: int, *, ends_epoch: bool) -> bool:
        """True every `evaluate_every` steps or, without that, once an epoch or iteration; and at the end."""
        due = ends_epoch if self.evaluate_every is None else step % self.evaluate_every == 0
        # An iteration ends on a distortion, so it is there that the distorted weights are looked at, whatever else is
        # asked.
        if self.iteration:
            due = self._ends_iteration(epoch, ends_epoch)
        return due or step == self.steps

    def has_ended(self, step: int, stale: int) -> bool:
        """True after the last step, or after `patience` evaluations in a row that were no better."""
        return step >= self.steps or (self.patience is not None and stale >= self.patience)

    def learning_rate(self, step: int, epoch: int) -> float:
        """Return the rate of a step (from 0) in an epoch (from 0)."""
        if self.iteration is None:
            return learning_rate(self.rates, self.base_rate, step=step, steps=self.steps, epoch=epoch)
        # The rate begins anew with each iteration, and its unit is the epoch: with 3 epochs a `cosine` goes through the
        # same three rates again and again.
        within = epoch % self.iteration
        return learning_rate(self.rates, self.base_rate, step=within, steps=self.iteration, epoch=within)

    def _ends_iteration(self, epoch: int, ends_epoch: bool) -> bool:  # noqa: FBT001 - a fact of the batch
        return ends_epoch and self.iteration is not None and (epoch + 1) % self.iteration == 0
