"""Binary codes of a language model without retraining: error and perplexity by solver and bits (Xu et al., table 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dtc.models.reproduce.papers.experiment import Experiment, PaperTrial, Record, Size, stored
from dtc.models.reproduce.papers.tables import file_ratio, having, number, table
from dtc.recipe import Objective, Recipe, Rule

SOLVERS: dict[str, dict[str, Any]] = {
    "greedy": {"solver": "greedy"},
    "refined": {"solver": "refined"},
    "alternating, 2 rounds": {"solver": "alternating", "rounds": 2},
    "alternating, to convergence": {"solver": "alternating"},
}
"""The solvers by their words in the table; the last one goes further than the paper."""

BITS: dict[Size, tuple[int, ...]] = {"smallest": (2,), "small": (2, 3, 4), "paper": (1, 2, 3, 4)}

PUBLISHED = {
    ("greedy", 2): (0.146, 118.9),
    ("greedy", 3): (0.071, 99.4),
    ("greedy", 4): (0.042, 95.0),
    ("refined", 2): (0.137, 105.3),
    ("refined", 3): (0.060, 95.4),
    ("refined", 4): (0.030, 93.1),
    ("alternating, 2 rounds", 2): (0.125, 103.1),
    ("alternating, 2 rounds", 3): (0.043, 93.8),
    ("alternating, 2 rounds", 4): (0.019, 91.4),
}
"""Relative squared error and test perplexity of an LSTM of 300 units, 89.8 before."""


def trials(size: Size, seeds: int) -> Sequence[PaperTrial]:
    """Return one trial a solver and number of bits; nothing is drawn, so that there is one seed."""
    del seeds
    test = "dtc.models.datasets:ptb_valid" if size == "smallest" else "dtc.models.datasets:ptb_test"
    return [_trial(words, bits, test) for bits in BITS[size] for words in SOLVERS]


def _trial(words: str, bits: int, test: str) -> PaperTrial:
    rule = Rule(method="binary", options={"bits": bits, "group_size": 0, **SOLVERS[words]})
    objective = Objective(carry={"hn": "h0", "cn": "c0"}, metric="perplexity")
    name = f"{words.replace(', ', '-').replace(' ', '-')}-{bits}"
    facts = {"solver": words, "bits": bits}
    return PaperTrial(name, stored("trained", "ptb_300.onnx"), Recipe(rules=(rule,), objective=objective), test, facts)


def tables(records: Sequence[Record]) -> Iterator[str]:
    """Yield the table, the paper's figures in brackets."""
    yield from table(["bits, solver", "relative error", "paper", "perplexity", "paper", "file"], _rows(records))


def _rows(records: Sequence[Record]) -> Iterator[list[str]]:
    for bits in (1, 2, 3, 4):
        for words in SOLVERS:
            for record in having(records, solver=words, bits=bits):
                error, perplexity = PUBLISHED.get((words, bits), ("", ""))
                told = "" if record.error is None else f"{record.error:.3f}"
                yield [
                    f"{bits}, {words}",
                    told,
                    str(error),
                    number([record.after]),
                    str(perplexity),
                    file_ratio([record]),
                ]
    if records:
        yield ["not quantized", "", "", number([records[0].before]), "89.8", "1.0x"]


EXPERIMENT = Experiment(
    "multibit-lstm",
    "Binary codes of a language model, without retraining",
    "C. Xu et al.: Alternating multi-bit quantization for recurrent neural networks, ICLR 2018, table 1",
    "All four weights of the LSTM of 300 units, a code a row, test text of the Penn Treebank. The model is another "
    "training than the paper's.",
    trials,
    tables,
    short={
        "paper": "two rounds of the alternating solver leave a larger error at 3 and 4 bits than the paper's do; run "
        "to convergence, as here by default, it is far below both.",
    },
)
