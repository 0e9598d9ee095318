"""Bundles in all ways to run them: compilers, a cross-compiler with an emulator, Node, a browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from real_files import MODELS, RealModel

from dtc.bundles import DeployOptions, check_bundle, deploy
from dtc.deploy.target import deploy_targets
from dtc.deploy.targets.onnxruntime.processors import HOST, PROCESSORS

pytestmark = [
    pytest.mark.runtimes,
    pytest.mark.xdist_group("bundles"),
    pytest.mark.skipif(not os.environ.get("DTC_BUNDLES"), reason="builds and fetches for an hour: set DTC_BUNDLES=1"),
]


FORMS = ("svd", "prune", "binary", "codebook")
NAMES = (
    "mnist-8",
    "resnet20_cifar10_derived",
    "mobilenetv2_cifar10",
    "ptb_rnnlm_lstm100_derived",
    "silero_vad_v5",
    "dtln_model_1",
    "gtcrn_simple",
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", sorted(deploy_targets()))
def test_a_real_model_runs_in_each_form(
    target: str, name: str, form: str, real_model: Callable[[str], RealModel], tmp_path: Path
) -> None:
    model, options = real_model(name), DeployOptions(fixed=MODELS.get(name, {}))
    told = deploy(model.written(form, deploy_targets()[target].lowering).path, target, tmp_path / "small", options)
    # What a runtime does not take of the original either is no failure.
    beside = tmp_path / "original" if target == "portable" else None
    if beside is not None:
        deploy(model.path, target, beside, options)
    found = check_bundle(tmp_path / "small", beside=beside, seconds=0)
    assert not found.failures
    assert [run.reason for run in found.bundle.runs if run.outcome == "missing"] == []
    if target == "c" and name == "silero_vad_v5" and form != "svd":
        assert told.figures["weights"] + told.figures["other constants"] <= 200_000
    if target == "wasm":
        assert max(run.found.relative_l2 for run in found.bundle.runs if run.found is not None) <= 2e-4


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path | None]:
    """Return what gives the native library for another processor than this machine's, built once."""

    def build(processor: str) -> Path | None:
        folder = tmp_path_factory.mktemp(processor)
        PROCESSORS[processor].build_library(folder)
        return next(folder.iterdir())

    return cache(build)


@pytest.mark.parametrize("processor", sorted(set(PROCESSORS) - {HOST}))
def test_a_bundle_for_another_processor_runs_in_emulation(
    processor: str,
    real_model: Callable[[str], RealModel],
    libraries: Callable[[str], Path | None],
    tmp_path: Path,
) -> None:
    model = real_model("ptb_rnnlm_lstm100_derived")
    options = DeployOptions(processor=processor, library=libraries(processor))
    deploy(model.path, "onnxruntime", tmp_path / "original", options)
    small = model.written("binary", "compute").path
    deploy(small, "onnxruntime", tmp_path / "small", replace(options, reference=model.path))
    found = check_bundle(tmp_path / "small", beside=tmp_path / "original", seconds=0.1)
    assert not found.failures
    assert found.beside is not None
    assert found.bundle.model_bytes < 0.5 * found.beside.model_bytes
    assert {run.outcome for run in found.bundle.runs} == {"right"}
