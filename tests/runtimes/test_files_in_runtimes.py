"""Files of real models in other runtimes and older versions: each refuses the original too, or is right."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from real_files import FORMS, MODELS, RealModel

from dtc.checking.elsewhere import run_elsewhere
from dtc.checking.runtime import Runtime

RUNTIMES = os.environ.get("DTC_RUNTIMES", "openvino,tract,mnn").split(",")


def cases(told: list[str]) -> list[object]:
    """All models in all runtimes; those of a model run in one process, which writes its files once."""
    return [
        pytest.param(name, each, marks=pytest.mark.xdist_group(name), id=f"{name}-{number}-{each.partition('@')[0]}")
        for name in MODELS
        for number, each in enumerate(told)
    ]


pytestmark = pytest.mark.runtimes


@pytest.mark.parametrize(("name", "runtime"), cases(RUNTIMES), indirect=["runtime"])
def test_standard_files_are_right(name: str, runtime: Runtime, real_model: Callable[[str], RealModel]) -> None:
    model = real_model(name)
    found = {
        form: run_elsewhere(runtime, model.original, model.written(form, "standard"), model.feeds) for form in FORMS
    }
    assert {form: each.words for form, each in found.items() if each.failed} == {}


@pytest.mark.parametrize(
    ("name", "runtime"), cases([each for each in RUNTIMES if each.startswith("onnxruntime")]), indirect=["runtime"]
)
def test_every_onnx_runtime_takes_files_with_functions_and_without(
    name: str, runtime: Runtime, real_model: Callable[[str], RealModel]
) -> None:
    model = real_model(name)
    for target in ("compute", "compute inlined"):
        for form in ("svd", "binary"):
            found = run_elsewhere(runtime, model.original, model.written(form, target), model.feeds)
            assert not found.failed, f"{form}, {target}: {found.words}"
