"""Which samples a search decides by, and which its result is judged on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dtc.data import Samples
from dtc.recipe import Data, Objective
from dtc.search.samples import MOST_ROWS, MOST_UNSEEN, WIDEST, halves


@pytest.fixture
def numbered(monkeypatch: pytest.MonkeyPatch) -> str:
    """A function of 40,000 samples, which are their numbers."""
    module = ModuleType("numbered_samples")

    def batches() -> Iterator[dict[str, Any]]:
        for start in range(0, 40_000, 500):
            yield {"x": np.arange(start, start + 500)}

    module.batches = batches  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return f"{module.__name__}:batches"


@pytest.mark.parametrize("carry", [{}, {"next": "state"}])
def test_of_many_samples_more_judge_than_decide(numbered: str, carry: dict[str, str]) -> None:
    samples = Samples(Data(train=numbered, evaluate=numbered))
    found = halves(samples, Objective(carry=carry), seed=0, model=Path("unread.onnx"))
    deciding, unseen = (np.concatenate([b["x"] for b in part]) for part in (found.deciding, found.unseen))
    # Batches may have streams side by side, in each of which neighbours are alike.
    most = WIDEST * MOST_ROWS if carry else MOST_ROWS
    assert most <= len(deciding) < most + 500
    assert found.levels()[0] == (2 if carry else 1)
    assert MOST_UNSEEN - 500 < len(unseen) < MOST_UNSEEN + 500
    assert not np.intersect1d(deciding, unseen).size
    # A stream is cut once; other samples, which may be in some order, are dealt.
    assert (deciding.max() < unseen.min()) == bool(carry)
