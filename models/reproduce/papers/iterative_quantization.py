"""One bit a weight by iterations of quantizing and retraining, with pruning too, and what each iteration loses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dtc.models.reproduce.papers.changes import pruned_dense
from dtc.models.reproduce.papers.experiment import Experiment, PaperTrial, Record, Size, result_of
from dtc.models.reproduce.papers.language import language_task, sgd
from dtc.models.reproduce.papers.pictures import Picture, lines_picture
from dtc.models.reproduce.papers.tables import controls, file_ratio, having, number, table
from dtc.models.reproduce.papers.task import PaperTask
from dtc.recipe import Rule, Schedule, Training

SPARSITIES: dict[Size, tuple[float, ...]] = {"smallest": (0.8,), "small": (0.8,), "paper": (0.6, 0.75, 0.9)}

_TRAININGS: dict[Size, Training] = {
    "smallest": sgd(4.0, 0.5, Schedule(), epochs=3, mode="iterative", iteration_epochs=1),
    "small": sgd(5.0, 0.25, Schedule(kind="cosine"), epochs=6, mode="iterative", iteration_epochs=2, patience=3),
    # With the rate that the model was trained with, 52.5, an iteration undoes the most of what the one before it won.
    "paper": sgd(
        10.0, 5 / 35, Schedule(kind="cosine"), epochs=12, mode="iterative", iteration_epochs=2, patience=6,
    ),
}  # fmt: skip

_OCCASIONAL: dict[Size, Training] = {
    "small": sgd(5.0, 0.25, Schedule(kind="cosine"), epochs=6),
    # The training of the low rank of the same model.
    "paper": sgd(2.6 * 35, 5 / 35, Schedule(kind="decay", after=3, factor=1 / 1.65), epochs=10),
}
"""One schedule for all of the training, with occasional distortion; as long as the iterations, or nearly."""

INTERVALS: dict[Size, tuple[int, ...]] = {"small": (100,), "paper": (100, 300, 1000)}
"""Steps between two distortions."""

_OFTEN = 300
"""The interval with which pruned weights are retrained."""

_RETRAINED: dict[Size, tuple[float, ...]] = {"small": (), "paper": SPARSITIES["paper"]}
"""What is pruned, coded and retrained so."""


def trials(size: Size, seeds: int) -> Sequence[PaperTrial]:
    """Return the control first, then one bit alone, then pruned and coded with and without a mask."""
    found: list[PaperTrial] = []
    for seed in range(seeds):
        task = language_task(size, _TRAININGS[size], seed)
        given = task.begin if size == "paper" else None
        found += [*task.controls, task.once("1-bit", _coded(), begin=given), task.retrained("1-bit", _coded())]
        for sparsity in SPARSITIES[size]:
            found += _pruned(task, sparsity, retrained=size != "small")
        if size in _OCCASIONAL:
            found += _distorted(replace(task, training=_OCCASIONAL[size]), size)
    return found


def _distorted(task: PaperTask, size: Size) -> Iterator[PaperTrial]:
    """Yield what stands beside iterations: a distortion every so many steps of one training, with its control."""
    yield task.trial("dense-occasional", task.begin, task.control.recipe, what="dense occasional")
    for every in INTERVALS[size]:
        told = {"what": "occasional", "every": every}
        yield task.retrained(f"1-bit-every-{every}", _coded(), training={"distort_every": every}, **told)
    for sparsity in _RETRAINED[size]:
        told = {"what": "occasional", "every": _OFTEN, "sparsity": sparsity}
        name = f"pruned-{100 * sparsity:.0f}-every-{_OFTEN}"
        yield task.retrained(name, _kept(sparsity), training={"distort_every": _OFTEN}, **told)


def _coded() -> Rule:
    return Rule(method="binary", options={"bits": 1}, include=("lstm*",))


def _pruned(task: PaperTask, sparsity: float, *, retrained: bool) -> Iterator[PaperTrial]:
    """Yield pruning with one bit for what is left: without a mask, with one, and the latter in iterations, too."""
    percent = f"{100 * sparsity:.0f}"
    prune = Rule(method="prune", options={"sparsity": sparsity}, include=_coded().include)
    masked = Rule(method="prune+binary", options={"sparsity": sparsity, "bits": 1}, include=_coded().include)
    unmasked = pruned_dense(result_of(task.control.name), f"{task.control.name}-pruned-{percent}", prune)
    yield task.once(f"pruned-{percent}-unmasked", _coded(), begin=unmasked, what="unmasked", sparsity=sparsity)
    yield task.once(f"pruned-{percent}", masked, sparsity=sparsity)
    if retrained:
        yield task.retrained(f"pruned-{percent}", _kept(sparsity), sparsity=sparsity)


def _kept(sparsity: float) -> Rule:
    """Return pruning whose zeros stay, and one bit for what is left."""
    options = {"sparsity": sparsity, "bits": 1, "end_step": "0"}
    return Rule(method="prune-masked+binary", options=options, include=_coded().include)


def tables(records: Sequence[Record]) -> Iterator[str]:
    """Yield the table of results, and one of the iterations of one bit alone."""
    yield from table(["LSTM weights", "bits a weight", "file", "perplexity", "paper"], _rows(records))
    if rows := list(_iterations(records)):
        yield ""
        yield from table(["iteration", "relative error", "trained weights", "quantized weights", "lost"], rows)


def _rows(records: Sequence[Record]) -> Iterator[list[str]]:
    if dense := controls(records):
        yield ["as the training found them", "32", "1.0x", number([dense[0].before]), ""]
        yield ["trained on, never coded (control)", "32", "1.0x", number([each.after for each in dense]), ""]
    if dense := having(records, what="dense occasional"):
        told = "trained on by the schedule of occasional distortion, never coded (control)"
        yield [told, "32", "1.0x", number([each.after for each in dense]), ""]
    words = {
        "unmasked": "coded with their zeros, not retrained",
        "one-shot": "not retrained",
        "retrained": "in iterations",
    }
    for sparsity in (None, *sorted({each.facts["sparsity"] for each in records if "sparsity" in each.facts})):
        for what, told in words.items():
            if found := having(records, what=what, sparsity=sparsity):
                paper = "no worse than dense" if what == "retrained" and sparsity is None else ""
                yield _row(found, sparsity, told, paper)
        for every in INTERVALS["paper"]:
            if found := having(records, what="occasional", sparsity=sparsity, every=every):
                yield _row(found, sparsity, f"distorted every {every} steps", "")


def _row(found: Sequence[Record], sparsity: float | None, told: str, paper: str) -> list[str]:
    before, after = found[0].site_bytes
    start = "1 bit" if sparsity is None else f"{100 * sparsity:.0f} % pruned and 1 bit"
    perplexity = number([each.after for each in found])
    return [f"{start}, {told}", f"{32 * after / before:.2f}", file_ratio(found), perplexity, paper]


def _iterations(records: Sequence[Record]) -> Iterator[list[str]]:
    for record in having(records, what="retrained", sparsity=None)[:1]:
        for count, each in enumerate(record.iterations, 1):
            lost = each.quantized - each.trained
            yield [str(count), f"{each.error:.4f}", number([each.trained]), number([each.quantized]), f"{lost:.2f}"]


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Yield the loss of quantization against the iteration: perplexity before and after each quantization."""
    for record in having(records, what="retrained", sparsity=None)[:1]:
        numbered = list(enumerate(record.iterations, 1))
        if len(numbered) > 1:
            series = {
                "trained": [(float(count), each.trained) for count, each in numbered],
                "quantized": [(float(count), each.quantized) for count, each in numbered],
            }
            title = "Perplexity of held-out text before and after each quantization"
            yield Picture("iterations", title, lines_picture(title, "iteration", "perplexity", series))


EXPERIMENT = Experiment(
    "iterative-quantization",
    "One bit a weight by iterations",
    "D. Lee, B. Kim: Retraining-based iterative weight quantization for deep neural networks, 2018 (arXiv 1805.11233)",
    "The weights of the LSTM alone, a code a row: quantized, retrained as floats with the learning rate begun anew, "
    "quantized again. Only the abstract of the paper is at hand: its model, rates and number of iterations are not "
    "known. The small setting takes the LSTM of 300 units and three iterations of two fifths of an epoch, and what "
    "is pruned is not retrained; what is not retrained is made of the control there. The largest setting has the "
    "medium model of two layers of 650, and six iterations of two epochs; beside them stands one training of ten "
    "epochs with a distortion every so many steps. Pruned weights are coded by their survivors alone, and the mask is "
    "stored: bits a weight count all that the file needs of them.",
    trials,
    tables,
    pictures,
    short={
        "smallest": "each iteration loses less by quantization, and the quantized model passes the one that it began "
        "with, but not the control, which learns for as long: three iterations of a model that is far from trained "
        "out.",
        "paper": "each iteration loses less by its quantization, down to four points of held-out text after six; on "
        "the test text that leaves one bit 6 % above the dense model, where the paper says none. A distortion every "
        "100 steps of one training ends lower on held-out text, but was ended before its test, as was the control of "
        "the iterations. Pruned weights were not run.",
    },
)
