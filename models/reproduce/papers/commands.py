"""Command models for spoken digits, trained here, which more than one experiment compresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dtc.models.reproduce.papers.experiment import built
from dtc.models.reproduce.papers.task import PaperTask
from dtc.recipe import Data, Lean, Objective, Optimizer, Schedule, Training

_SETS = "dtc.models.datasets"
_SAMPLES = {"spoken-digits-cnn": "spoken_digits", "spoken-digits-lstm": "spoken_frames"}

LEAN = Lean(half_vectors=True, strip_names=True)
"""Sizes are of whole files, in which vectors, names and types count."""


def command_task(model: str, training: Training, seed: int, options: Mapping[str, Any] | None = None) -> PaperTask:
    """Return the task of a reference model, which begins with its initial weights: its control is the dense model."""
    samples = _SAMPLES[model]
    return PaperTask(
        begin=built(model, seed=seed, **(options or {})),
        data=Data(train=f"{_SETS}:{samples}", batch_size=32),
        test=f"{_SETS}:{samples}_test",
        objective=Objective(loss="cross-entropy", output="logits", metric="accuracy"),
        training=training,
        seed=seed,
        model=model,
        lean=LEAN,
    )


def adam(learning_rate: float = 1e-3, **settings: Any) -> Training:
    """Return the training of command models: Adam down to 0 by a cosine, on one thread."""
    optimizer = Optimizer(kind="adam", learning_rate=learning_rate)
    return Training(optimizer=optimizer, schedule=Schedule(kind="cosine"), threads=1, **settings)


def smallest_task(seed: int) -> PaperTask:
    """Return the task of a convolutional model that is trained in seconds, and measured on few samples."""
    training = adam(5e-3, steps=150, evaluate_every=150)
    task = command_task("spoken-digits-cnn", training, seed, {"channels": 16, "hidden": 48})
    return replace(task, samples=Data(train="dtc.models.reproduce.samples:commands", batch_size=64))
