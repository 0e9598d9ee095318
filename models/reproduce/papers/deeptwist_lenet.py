"""DeepTwist's pruning of LeNets on MNIST: rates by layer, and accuracy against the interval (its tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dtc.models.reproduce.papers.experiment import Experiment, PaperTrial, Record, Size, built
from dtc.models.reproduce.papers.tables import having, number, percent, table
from dtc.models.reproduce.papers.task import PaperTask
from dtc.recipe import Data, Objective, Optimizer, Rule, Training

STEPS: dict[Size, int] = {"smallest": 250, "small": 3000, "paper": 20_000}
INTERVALS: dict[Size, tuple[int, ...]] = {
    "smallest": (10, 100),
    "small": (10, 100, 500),
    "paper": (1, 2, 5, 10, 50, 100, 200, 500),
}
PUBLISHED = {1: 99.00, 2: 99.06, 5: 99.06, 10: 99.11, 50: 99.05, 100: 98.98, 200: 98.72, 500: 96.52}
"""Accuracy of LeNet-5 by interval, the mean of ten runs (table 2); which ones the first five are is a guess."""

RATES = {
    "lenet-5": {"conv1": 0.858, "conv2": 0.969, "fc1": 0.993, "fc2": 0.957},
    "lenet-300-100": {"fc1": 0.982, "fc2": 0.982, "fc3": 0.945},
}
"""Share of zeros by layer: those of Y. Guo et al.: Dynamic Network Surgery, 2016, as DeepTwist's own are not known."""

CHOSEN = {"lenet-5": 10, "lenet-300-100": 5}
"""The paper's interval of each model."""

END = {"lenet-5": 0.6, "lenet-300-100": 0.65}
"""From this share of the steps on, the rates are the full ones: 12,000 and 13,000 of 20,000."""


def trials(size: Size, seeds: int) -> Sequence[PaperTrial]:
    """Return the controls first: what is pruned without retraining begins with them."""
    return [trial for seed in range(seeds) for model in CHOSEN for trial in _trials(_task(model, size, seed), size)]


def _trials(task: PaperTask, size: Size) -> Iterator[PaperTrial]:
    chosen = CHOSEN[task.model]
    yield task.control
    yield task.once("", *_rules(task.model, "prune", {}), samples=True)
    yield _pruned(task, "prune-masked", chosen)
    for every in INTERVALS[size] if task.model == "lenet-5" else (chosen,):
        yield _pruned(task, "prune", every)


def _task(model: str, size: Size, seed: int) -> PaperTask:
    steps = STEPS[size]
    often = steps if size == "smallest" else steps // 5
    # The rate of the reference model (dtc.models.lenet).
    optimizer = Optimizer(kind="adam", learning_rate=1e-3)
    return PaperTask(
        begin=built(model, seed=seed),
        data=Data(train="dtc.models.datasets:mnist", batch_size=50),
        test="dtc.models.datasets:mnist_test",
        objective=Objective(loss="cross-entropy", output="logits", metric="accuracy"),
        training=Training(steps=steps, evaluate_every=often, threads=1, optimizer=optimizer),
        seed=seed,
        model=model,
    )


def _rules(model: str, method: str, schedule: dict[str, object]) -> tuple[Rule, ...]:
    return tuple(
        Rule(method=method, include=(f"{layer}*",), options={"sparsity": rate, **schedule})
        for layer, rate in RATES[model].items()
    )


def _pruned(task: PaperTask, method: str, every: int) -> PaperTrial:
    schedule = {
        "initial_sparsity": 0.25,
        "begin_step": "40%",
        "end_step": f"{100 * END[task.model]:g}%",
        "exponent": 7.0,
    }
    rules = _rules(task.model, method, schedule)
    return task.retrained(f"{method}-{every}", *rules, training={"distort_every": every}, what=method, every=every)


def tables(records: Sequence[Record]) -> Iterator[str]:
    """Yield one table a question: does retraining hold the accuracy, and how far apart may distortions be."""
    yield from table(["model and way", "zeros", "weights", "accuracy", "paper"], _ways(records))
    if rows := list(_intervals(records)):
        yield ""
        yield from table(["LeNet-5, S_D", "accuracy", "paper"], rows)


def _ways(records: Sequence[Record]) -> Iterator[list[str]]:
    papers = {"lenet-5": "99.11 %", "lenet-300-100": "98.0 %"}
    words = {
        "dense": "dense, the same training",
        "one-shot": "pruned, not retrained",
        "prune-masked": "gradual, masked",
    }
    for model, chosen in CHOSEN.items():
        for what, told in (*words.items(), ("prune", f"DeepTwist, S_D = {chosen}")):
            among = having(records, every=chosen) if what == "prune" else records
            if found := having(among, model=model, what=what):
                zeros = percent([each.zeros for each in found if each.zeros is not None][:1])
                before, after = found[0].site_bytes
                smaller = f"{before / after:.0f}x smaller" if after else ""
                paper = papers[model] if what == "prune" else ""
                yield [f"{model}: {told}", zeros, smaller, percent([each.after for each in found]), paper]


def _intervals(records: Sequence[Record]) -> Iterator[list[str]]:
    for every, paper in PUBLISHED.items():
        if found := having(records, model="lenet-5", what="prune", every=every):
            yield [str(every), percent([each.after for each in found]), f"{number([paper])} %"]


EXPERIMENT = Experiment(
    "deeptwist-lenet",
    "Pruning LeNets without masks",
    "J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018 (arXiv 1810.12823), tables 1 and 2",
    "Trained from scratch by Adam with batches of 50, 5,000 training images held out; pruned from 40 % of the steps "
    "on, fully from 60 % on (LeNet-300-100: 65 %), from 25 % of zeros up with exponent 7. The learning rate is the "
    "reference model's, 1e-3: the paper does not tell its own. It takes 20,000 steps and the mean of ten runs; its "
    "rates by layer are not known, those of Dynamic Network Surgery stand in.",
    trials,
    tables,
    short={
        "paper": "LeNet-5 is flat up to an interval of 100 and falls from 200 on, as the paper's; it is a tenth of a "
        "point below the paper, and above its own dense model. LeNet-300-100 stays four tenths below its dense one. "
        "Masked pruning is no worse on either. There are one or two seeds where the paper has the mean of ten.",
    },
)
