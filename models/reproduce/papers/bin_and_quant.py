"""Bin & Quant of speech models without retraining: accuracy and size of the file against the number of bins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dtc.models.reproduce.papers.commands import adam, command_task, smallest_task
from dtc.models.reproduce.papers.experiment import Experiment, PaperTrial, Record, Size
from dtc.models.reproduce.papers.pictures import Picture, lines_picture
from dtc.models.reproduce.papers.tables import file_ratio, having, mean, percent, table
from dtc.models.reproduce.papers.task import PaperTask
from dtc.recipe import Data, Rule

COMMANDS, SEQUENCES = "spoken-digits-cnn", "spoken-sequences"

MODELS: dict[Size, tuple[str, ...]] = {
    "smallest": (COMMANDS,),
    "small": (COMMANDS, SEQUENCES),
    "paper": (COMMANDS, SEQUENCES),
}
BINS: dict[Size, tuple[int, ...]] = {
    "smallest": (4, 8),
    "small": (4, 5, 6, 8, 12, 16),
    "paper": (4, 5, 6, 8, 12, 16, 24),
}
SCALARS: dict[Size, tuple[int, ...]] = {"smallest": (), "small": (4, 6), "paper": (4, 6, 8, 16)}
"""Codewords of the k-means that stands beside: as many levels, placed by the weights instead of halved bins."""

_EPOCHS: dict[Size, int] = {"small": 20, "paper": 60}

_LARGE = {"filters": 32, "width": 256, "layers": 3}
"""Of the model of sequences in the largest setting."""

PUBLISHED = {COMMANDS: "13x", SEQUENCES: "7x"}
"""What the papers' command model and their DeepSpeech 2 are made smaller by, without retraining."""

_WORDS = {COMMANDS: "convolutional", SEQUENCES: "recurrent"}


def trials(size: Size, seeds: int) -> Sequence[PaperTrial]:
    """Return the training of each model first, then what is made of it."""
    found: list[PaperTrial] = []
    for seed in range(seeds):
        for model in MODELS[size]:
            task = _task(size, model, seed)
            found.append(task.control)
            for bins in BINS[size]:
                rule = Rule(method="bins", options={"bins": bins, "huffman": True})
                found.append(task.once(f"bins-{bins}", rule, samples=True, what="bins", levels=bins))
            for levels in SCALARS[size]:
                rule = Rule(method="codebook", options={"codewords": levels, "block": 1, "huffman": True})
                found.append(task.once(f"codebook-{levels}", rule, samples=True, what="codebook", levels=levels))
    return found


def _task(size: Size, model: str, seed: int) -> PaperTask:
    if size == "smallest":
        return smallest_task(seed)
    if model == COMMANDS:
        return command_task(model, adam(epochs=_EPOCHS[size]), seed)
    training = adam(3e-3, epochs=_EPOCHS[size], clip_norm=1.0)
    if size == "paper":
        return command_task(model, training, seed, _LARGE)
    samples = Data(train="dtc.models.reproduce.samples:sequences", batch_size=64)
    return replace(command_task(model, training, seed), samples=samples)


def tables(records: Sequence[Record]) -> Iterator[str]:
    """Yield the table, the paper's size beside the smallest file within one point."""
    yield from table(["model and way", "bits a weight", "file", "accuracy", "lost", "paper"], _rows(records))


def _rows(records: Sequence[Record]) -> Iterator[list[str]]:
    for model, paper in PUBLISHED.items():
        dense = having(records, model=model, what="dense")
        if not dense:
            continue
        own = mean(_right(dense))
        yield [f"{_WORDS[model]}: dense", "32", "1.0x", percent(_right(dense)), "", f"{paper} smaller"]
        for what, words in (("bins", "bins"), ("codebook", "scalars by k-means")):
            for levels in _levels(having(records, model=model, what=what)):
                found = having(records, model=model, what=what, levels=levels)
                before, after = found[0].site_bytes
                lost = 100 * (own - mean(_right(found)))
                yield [
                    f"{_WORDS[model]}: {levels} {words}",
                    f"{32 * after / before:.2f}",
                    file_ratio(found),
                    percent(_right(found)),
                    f"{lost:.2f}",
                    "",
                ]


def _right(records: Sequence[Record]) -> list[float]:
    """Return the accuracy of each; of sequences, what the error rate of their labels leaves."""
    return [1 - each.after if each.metric == "label-error" else each.after for each in records]


def _levels(records: Sequence[Record]) -> list[int]:
    return sorted({each.facts["levels"] for each in records})


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Yield accuracy against the number of bins, a line a model."""
    series = {}
    for model, words in _WORDS.items():
        binned = having(records, model=model, what="bins")
        series[words] = [(float(bins), mean(_right(having(binned, levels=bins)))) for bins in _levels(binned)]
    series = {words: points for words, points in series.items() if points}
    if series:
        title = "Accuracy against bins, without retraining"
        yield Picture("bins", title, lines_picture(title, "bins a layer", "accuracy", series, percent=True))


EXPERIMENT = Experiment(
    "bin-and-quant",
    "Bins of speech models, without retraining",
    "S. Sakthi, P. Pawate, A. Tewfik: Compressing deep neural networks by bins and quantization, ICASSP 2020; S. "
    "Sakthi, R. Yadla, P. Pawate, 2022 (arXiv 2210.05111)",
    "Models for spoken digits, trained here from the Free Spoken Digits. Two convolutions and two dense layers stand "
    "in for the papers' command model: a digit a clip; 300 test clips tell a third of a point. Convolutions and "
    "bidirectional LSTMs, trained by CTC, stand in for DeepSpeech 2: sequences of two to five clips of one speaker; "
    "accuracy is what the error rate of their labels leaves, and each test clip is in four of them. Nothing is "
    "retrained: bins are split where some hundred training clips or sequences say, by the likelihood of their labels, "
    "and Huffman coded. The file is whole: its vectors are in float16 and its names are taken out.",
    trials,
    tables,
    pictures,
    short={
        "small": "bins keep the size and the accuracy that the papers tell, and the recurrent model gets smaller than "
        "the paper's; but k-means with four levels loses less, in a file that is as small or smaller. There is one "
        "seed, and models and tasks are small beside the papers'.",
    },
)
