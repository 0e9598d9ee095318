"""The settings of a training engine: what of a recipe is the engine's own business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from dtc.recipe import Objective, Recipe


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is told besides its model.

    Attributes:
        objective: The loss, and what it reads.
        distill: Weight of the distance from the original's scores, beside a loss of labels.
        freeze: Globs of parameters that are not trained.
        threads: Of the engine; None: all cores.
        batch_norm: Whether BatchNormalization is trained with the moments of the batch, or with its statistics as they
            are.
        delta: The gradient scaling of quantized activations; 0 is the straight-through estimator.
        device: What it computes on: `cpu`, `cuda`, `cuda:1` or `mps`.
        processes: How many share each batch, with a device each; 1 but for engines that are parallel.
        precision: Of a training step; the parameters are float32 always, and so is everything that is no step.
    """

    objective: Objective
    distill: float = 0.0
    freeze: Sequence[str] = ()
    threads: int | None = None
    batch_norm: Literal["batch", "frozen"] = "batch"
    delta: float = 0.0
    device: str = "cpu"
    processes: int = 1
    precision: Literal["float32", "bf16", "fp16"] = "float32"

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Return the settings of a run of `recipe`, whose objective is resolved."""
        training = recipe.training
        assert training is not None, "a run has training"
        return cls(
            recipe.objective,
            distill=training.distill,
            freeze=training.freeze,
            threads=training.threads,
            batch_norm=recipe.trained_batch_norm,
            delta=recipe.activations.delta,
            device=training.device,
            processes=training.processes,
            precision=training.precision,
        )
