"""Files of real models in other runtimes and older versions: each refuses the original too, or is right."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import pytest
from real_files import FORMS, IN_FRONT_OF_RECURRENCES, MODELS, RealModel

from dtc.checking.elsewhere import run_elsewhere
from dtc.checking.runtime import Runtime

RUNTIMES = os.environ.get("DTC_RUNTIMES", "openvino,tract,mnn").split(",")


RECURRENT = "ptb_rnnlm_lstm100_derived"


def cases(told: list[str], names: Iterable[str] = MODELS) -> list[object]:
    """All models in all runtimes; those of a model run in one process, which writes its files once."""
    return [
        pytest.param(name, each, marks=pytest.mark.xdist_group(name), id=f"{name}-{number}-{each.partition('@')[0]}")
        for name in names
        for number, each in enumerate(told)
    ]


pytestmark = pytest.mark.runtimes


@pytest.mark.parametrize(("name", "runtime"), cases(RUNTIMES), indirect=["runtime"])
def test_standard_files_are_right(name: str, runtime: Runtime, real_model: Callable[[str], RealModel]) -> None:
    assert failures(real_model(name), runtime, FORMS) == {}


@pytest.mark.parametrize(("name", "runtime"), cases(RUNTIMES, [RECURRENT]), indirect=["runtime"])
def test_codes_in_front_of_recurrences_are_right(
    name: str, runtime: Runtime, real_model: Callable[[str], RealModel]
) -> None:
    assert failures(real_model(name), runtime, IN_FRONT_OF_RECURRENCES) == {}


def failures(model: RealModel, runtime: Runtime, forms: Iterable[str]) -> dict[str, str]:
    """Return what is said of the files that a runtime has wrong, or refuses without refusing the original."""
    found = {
        form: run_elsewhere(runtime, model.original, model.written(form, "standard"), model.feeds) for form in forms
    }
    return {form: each.words for form, each in found.items() if each.failed}


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
