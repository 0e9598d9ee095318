"""A model with its data and its training, and the trials that compare methods on it with one control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dtc.models.reproduce.papers.experiment import Begin, PaperTrial, result_of
from dtc.recipe import Data, Lean, Objective, Recipe, Rule, Training


@dataclass(frozen=True)
class PaperTask:
    """What the trials of one seed have in common.

    Attributes:
        begin: The model that the control begins with, and every retraining too.
        data: Samples to train on; what is chosen is chosen by those that they hold out.
        test: Samples that nothing is chosen by, as `--data` names them.
        objective: Loss, metric and carried state.
        training: Of the control and of every retraining alike.
        seed: Of everything random.
        model: Its name in names of trials, where there are several; facts tell it then.
        lean: What else gets smaller in compressed files.
        samples: What compressions without training may measure on, where it is not `data`.
        trained_first: Whether retraining begins with the control instead, as where that is trained from scratch.
    """

    begin: Begin
    data: Data
    test: str
    objective: Objective
    training: Training
    seed: int = 0
    model: str = ""
    lean: Lean = field(default_factory=Lean)
    samples: Data | None = None
    trained_first: bool = False

    @property
    def control(self) -> PaperTrial:
        """The dense model trained for as long, by the same schedule, and never distorted."""
        recipe = Recipe(objective=self.objective, data=self.data, training=self.training, seed=self.seed)
        return self.trial("dense", self.begin, recipe, what="dense")

    @property
    def controls(self) -> list[PaperTrial]:
        """The control and, where retraining begins with it, the control trained once more, for as long as that."""
        if not self.trained_first:
            return [self.control]
        again = self.trial("dense-again", result_of(self.control.name), self.control.recipe, what="dense again")
        return [self.control, again]

    def once(
        self, name: str, *rules: Rule, begin: Begin | None = None, samples: bool = False, **facts: Any
    ) -> PaperTrial:
        """Return a compression without training, of the control unless it begins elsewhere, by samples if asked."""
        recipe = Recipe(
            rules=rules,
            objective=self.objective,
            data=(self.samples or self.data) if samples else Data(),
            lean=self.lean,
            seed=self.seed,
        )
        start = begin or result_of(self.control.name)
        return self.trial(f"{name}-once".removeprefix("-"), start, recipe, **({"what": "one-shot"} | facts))

    def retrained(self, name: str, *rules: Rule, training: Mapping[str, Any] | None = None, **facts: Any) -> PaperTrial:
        """Return the training with occasional distortion; `training` holds settings other than the control's."""
        recipe = Recipe(
            rules=rules,
            objective=self.objective,
            data=self.data,
            training=self.training.model_copy(update=dict(training or {})),
            lean=self.lean,
            seed=self.seed,
        )
        begin = result_of(self.control.name) if self.trained_first else self.begin
        return self.trial(name, begin, recipe, **({"what": "retrained"} | facts))

    def trial(self, name: str, begin: Begin, recipe: Recipe, **facts: Any) -> PaperTrial:
        """Return a trial of the task; model and seed are in its name and facts."""
        told = {"model": self.model} if self.model else {}
        full = "-".join(part for part in (self.model, name, str(self.seed)) if part)
        return PaperTrial(full, begin, recipe, self.test, {**told, **facts, "seed": self.seed})
