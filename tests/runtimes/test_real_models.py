"""Files of real models in other runtimes and older versions: each refuses the original too, or is right."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from real_files import FORMS, MODELS, Told

from dtc.checking.elsewhere import Expected, run_elsewhere
from dtc.checking.runtime import Runtime

RUNTIMES = os.environ.get("DTC_RUNTIMES", "openvino,tract,mnn").split(",")

CASES = [
    pytest.param(name, each, marks=pytest.mark.xdist_group(name), id=f"{name}-{each.split('/')[0]}-{number}")
    for name in MODELS
    for number, each in enumerate(RUNTIMES)
]

pytestmark = pytest.mark.runtimes


@pytest.mark.parametrize(("name", "runtime"), CASES, indirect=["runtime"])
def test_standard_files_are_right(
    name: str, runtime: Runtime, original: Callable[[str], Told], written: Callable[[str, str, str], Expected]
) -> None:
    reference, feeds = original(name)
    found = {form: run_elsewhere(runtime, reference, written(name, form, "standard"), feeds) for form in FORMS}
    assert {form: each.words for form, each in found.items() if each.failed} == {}


@pytest.mark.parametrize(("name", "runtime"), CASES, indirect=["runtime"])
def test_every_onnx_runtime_takes_files_with_functions_and_without(
    name: str, runtime: Runtime, original: Callable[[str], Told], written: Callable[[str, str, str], Expected]
) -> None:
    if runtime.name != "onnxruntime":
        pytest.skip("what is right in every runtime is `standard`")
    reference, feeds = original(name)
    for target in ("compute", "compute inlined"):
        for form in ("svd", "binary"):
            found = run_elsewhere(runtime, reference, written(name, form, target), feeds)
            assert not found.failed, f"{form}, {target}: {found.words}"
