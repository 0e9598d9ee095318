"""Models of spoken digits, trained here, which more than one experiment compresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dtc import models
from dtc.models.reproduce.papers.experiment import built
from dtc.models.reproduce.papers.task import PaperTask
from dtc.recipe import Data, Lean, Optimizer, Schedule, Training

LEAN = Lean(half_vectors=True, strip_names=True)
"""Sizes are of whole files, in which vectors, names and types count."""


def command_task(model: str, training: Training, seed: int, options: Mapping[str, Any] | None = None) -> PaperTask:
    """Return the task of a reference model, which begins with its initial weights: its control is the dense model.

    Data and objective are those that the reference model is trained by.
    """
    plan = models.plan(model)
    return PaperTask(
        begin=built(model, seed=seed, **(options or {})),
        data=plan.data,
        test=f"{plan.data.train}_test",
        objective=plan.objective,
        training=training,
        seed=seed,
        model=model,
        lean=LEAN,
    )


def adam(learning_rate: float = 1e-3, clip_norm: float | None = None, **settings: Any) -> Training:
    """Return the training of these models: Adam down to 0 by a cosine, on one thread."""
    optimizer = Optimizer(kind="adam", learning_rate=learning_rate, clip_norm=clip_norm)
    return Training(optimizer=optimizer, schedule=Schedule(kind="cosine"), threads=1, **settings)


def smallest_task(seed: int) -> PaperTask:
    """Return the task of a convolutional model that is trained in seconds, and measured on few samples."""
    training = adam(5e-3, steps=150, evaluate_every=150)
    task = command_task("spoken-digits-cnn", training, seed, {"channels": 16, "hidden": 48})
    return replace(task, samples=Data(train="dtc.models.reproduce.samples:commands", batch_size=64))
