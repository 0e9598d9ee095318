"""Bundles in all ways to run them: compilers, a cross-compiler with an emulator, Node, a browser.

DTC_BUNDLES says how much is tried: `square` each model on each target once, in forms that go round as in a Latin square
so that each meets every target and every model; `all` each in every form.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from needed import lacking
from real_files import MODELS, RealModel

from dtc.bundles import BundleCheck, DeployOptions, check_bundle, deploy
from dtc.deploy.target import deploy_targets
from dtc.deploy.targets.onnxruntime.processors import HOST, PROCESSORS

HOW_MUCH = os.environ.get("DTC_BUNDLES")

pytestmark = [
    pytest.mark.runtimes,
    pytest.mark.skipif(not HOW_MUCH, reason="builds and fetches for minutes: set DTC_BUNDLES=square, or =all"),
]


FORMS = ("svd", "prune", "binary", "codebook")
NAMES = (
    "ptb_rnnlm_lstm100_derived",
    "mnist-8",
    "silero_vad_v5",
    "resnet20_cifar10_derived",
    "mobilenetv2_cifar10",
    "dtln_model_1",
    "gtcrn_simple",
)

ROUNDED = {"gtcrn_simple": 1e-3}
"""Largest relative L2 of a module's outputs where it is more than that of a product: of many layers in a row."""


def cases() -> list[object]:
    """All that is tried; what is tried of a model runs in one process, which writes its files once."""
    return [
        pytest.param(target, name, form, marks=pytest.mark.xdist_group(f"bundles of {name}"))
        for row, name in enumerate(NAMES)
        for column, target in enumerate(sorted(deploy_targets()))
        for form in (FORMS if HOW_MUCH == "all" else [FORMS[(row + column) % len(FORMS)]])
    ]


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what checks of bundles fetch."""
    return tmp_path_factory.mktemp("fetched")


def expect_right(found: BundleCheck) -> None:
    """Expect that every way is here and right, but for those in which the bundle beside is not right either."""
    missing = [run.reason for run in found.bundle.runs if run.outcome == "missing"]
    if missing:
        lacking("; ".join(missing))
    assert found.failures == ()


@pytest.mark.parametrize(("target", "name", "form"), cases())
def test_a_real_model_runs_in_each_form(
    target: str, name: str, form: str, real_model: Callable[[str], RealModel], tmp_path: Path, fetched: Path
) -> None:
    model, options = real_model(name), DeployOptions(fixed=MODELS.get(name, {}))
    told = deploy(model.written(form, deploy_targets()[target].lowering).path, target, tmp_path / "small", options)
    found = check_bundle(tmp_path / "small", seconds=0, fetched=fetched)
    if found.failures and target == "portable":
        # What a runtime does not take of the original either is no failure.
        deploy(model.path, target, tmp_path / "original", options)
        found = check_bundle(tmp_path / "small", beside=tmp_path / "original", seconds=0, fetched=fetched)
    expect_right(found)
    if target == "c" and name == "silero_vad_v5" and form != "svd":
        assert told.figures["weights"] + told.figures["other constants"] <= 200_000
    if target == "wasm":
        far = max(run.found.relative_l2 for run in found.bundle.runs if run.found is not None)
        assert far <= ROUNDED.get(name, 2e-4)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path | None]:
    """Return what gives the native library for another processor than this machine's, built once."""

    def build(processor: str) -> Path | None:
        folder = tmp_path_factory.mktemp(processor)
        PROCESSORS[processor].build_library(folder)
        return next(folder.iterdir())

    return cache(build)


@pytest.mark.skipif(HOW_MUCH != "all", reason="compiles the native library for minutes: set DTC_BUNDLES=all")
@pytest.mark.parametrize(
    "processor",
    [
        pytest.param(name, marks=pytest.mark.xdist_group(f"bundles for {name}"))
        for name in sorted(set(PROCESSORS) - {HOST})
    ],
)
def test_a_bundle_for_another_processor_runs_in_emulation(
    processor: str,
    real_model: Callable[[str], RealModel],
    libraries: Callable[[str], Path | None],
    tmp_path: Path,
    fetched: Path,
) -> None:
    model = real_model("ptb_rnnlm_lstm100_derived")
    options = DeployOptions(processor=processor, library=libraries(processor))
    original = deploy(model.path, "onnxruntime", tmp_path / "original", replace(options, library=None))
    small = model.written("binary", "compute").path
    deploy(small, "onnxruntime", tmp_path / "small", replace(options, reference=model.path))
    found = check_bundle(tmp_path / "small", seconds=0, fetched=fetched)
    expect_right(found)
    assert found.bundle.model_bytes < 0.5 * original.file("model.onnx").bytes
    assert {run.outcome for run in found.bundle.runs} == {"right"}
