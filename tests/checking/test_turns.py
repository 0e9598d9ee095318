"""Large models are run one at a time, with the outcome that they have side by side."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import dtc
import dtc.models
from dtc.checking import CheckOptions, check
from dtc.checking.session_memory import IDLE, session_memory
from dtc.errors import ModelError
from dtc.graph import load_model, save_model
from dtc.graph.signature import Arrays

Pair = tuple[Path, Path]


class Digits:
    """Batches of random images."""

    words, length = "noise", 12

    def batches(self, *, epoch: int, seed: int, shuffle: bool) -> Iterator[Arrays]:
        rng = np.random.default_rng(epoch)
        return iter([{"image": rng.random((5, 1, 8, 8), np.float32)} for _ in range(self.length)])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    save_model(dtc.models.build("digits-mlp", hidden=32), folder / "model.onnx")
    recipe = dtc.Recipe(rules=(dtc.Rule(method="binary", options={"bits": 2}),))
    dtc.compress(folder / "model.onnx", recipe, dtc.Job(folder / "binary.onnx", seconds=0))
    return folder / "model.onnx", folder / "binary.onnx"


@pytest.fixture
def most_open(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many sessions are alive at each opening, the new one counted."""
    alive: weakref.WeakSet[ort.InferenceSession] = weakref.WeakSet()
    counts: list[int] = []

    class Counted(ort.InferenceSession):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            gc.collect()
            super().__init__(*arguments, **options)
            alive.add(self)
            counts.append(len(alive))

    monkeypatch.setattr(ort, "InferenceSession", Counted)
    return counts


def enough_for_one(pair: Pair) -> int:
    return IDLE + max(session_memory(load_model(path)) for path in pair)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("source", [None, Digits()])
def test_one_session_is_open_at_a_time_where_two_do_not_fit(
    pair: Pair, most_open: list[int], source: Digits | None, native: bool
) -> None:
    side_by_side = check(*pair, source=source, options=CheckOptions(native=native, seconds=0))
    assert max(most_open) > 1
    most_open.clear()
    measured = 0.01 if source is None and native else 0  # in processes of their own, which take a second each
    options = CheckOptions(native=native, seconds=measured, memory=enough_for_one(pair))
    by_turns = check(*pair, source=source, options=options)
    assert max(most_open) == 1
    # Constants that are not folded are added up in another order.
    for found, wanted in zip(by_turns.differences, side_by_side.differences, strict=True):
        assert found.relative_l2 == pytest.approx(wanted.relative_l2, rel=1e-5)
        assert found.agreement == wanted.agreement
    assert by_turns.metric == side_by_side.metric
    if measured:
        assert by_turns.candidate.latency is not None or "decodes" in " ".join(by_turns.caveats)


def test_what_does_not_fit_by_itself_is_not_opened(pair: Pair, most_open: list[int]) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx: running it takes .* give more \(--memory\)"):
        check(*pair, options=CheckOptions(memory=IDLE))
    assert not most_open
