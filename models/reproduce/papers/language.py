"""What experiments on language models of the Penn Treebank have in common: models, texts, training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dtc.models.reproduce.papers.experiment import Begin, Record, Size, built, stored
from dtc.models.reproduce.papers.task import PaperTask
from dtc.recipe import Data, Objective, Optimizer, Schedule, Training

_SETS = "dtc.models.datasets"
TEXT = f"{_SETS}:ptb_30"
"""The training text as the model of 300 units takes it."""


def letters(training: Training, seed: int) -> PaperTask:
    """Return a task of seconds: a small model learns letters instead of words, from its initial weights, then again."""
    begin = built("ptb-300", vocabulary=50, width=64, dropout=0.0, seed=seed)
    return replace(_task(begin, f"{_SETS}:ptb_letters", "ptb_letters_test", training, seed), trained_first=True)


def beside(paper: str, records: Sequence[Record]) -> str:
    """Return a figure of a paper where the records are of words, as its own are."""
    return "" if any("letters" in str(each.recipe["data"]) for each in records) else paper


def words(file: str, text: str, training: Training, seed: int) -> PaperTask:
    """Return the task of a trained model of the data folder; `text` is the loader, as `--data` names it.

    Epochs are compared on 20,000 words of the validation text.
    """
    task = _task(stored("trained", file), text, "ptb_test", training, seed)
    return replace(task, data=task.data.model_copy(update={"evaluate": "dtc.models.reproduce.samples:first_words"}))


def language_task(size: Size, training: Training, seed: int) -> PaperTask:
    """Return the task of a size: letters, then words by the model of 300 units, then by that of the papers, of 650.

    An epoch of the small one is a fifth of the text.
    """
    if size == "smallest":
        return letters(training, seed)
    if size == "small":
        return words("ptb_300.onnx", "dtc.models.reproduce.samples:fifths_of_text", training, seed)
    return words("ptb_medium.onnx", f"{_SETS}:ptb", training, seed)


def sgd(learning_rate: float, clip_norm: float, schedule: Schedule, **settings: Any) -> Training:
    """Return training as language models have it: plain steps with a bounded gradient, on one thread."""
    optimizer = Optimizer(kind="sgd", learning_rate=learning_rate, clip_norm=clip_norm)
    return Training(optimizer=optimizer, schedule=schedule, threads=1, **settings)


def _task(begin: Begin, text: str, test: str, training: Training, seed: int) -> PaperTask:
    objective = Objective(carry={"hn": "h0", "cn": "c0"}, metric="perplexity")
    return PaperTask(begin, Data(train=text, batch_size=20), f"{_SETS}:{test}", objective, training, seed)
