"""Some models of ONNX's backend tests; `python tests/fuzz/sweep.py` takes all of them."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

if sys.platform == "win32":
    pytest.skip("a fork is needed", allow_module_level=True)

from backend import backend_models
from sweep import METHODS, swept


@pytest.mark.parametrize("kind", ["pytorch-converted-13", "simple"])
def test_no_model_is_compressed_wrongly(kind: str) -> None:
    models = list(backend_models(kind))[::4]
    results = {model.name: swept(model, list(METHODS)[number % len(METHODS)]) for number, model in enumerate(models)}
    assert {name: each for name, each in results.items() if each.outcome in ("wrong", "fault")} == {}
    assert (
        Counter(each.outcome for each in results.values()).keys()
        >= {
            "simple": {"nothing to do"},
            "pytorch-converted-13": {"compressed", "nothing to do"},
        }[kind]
    )
