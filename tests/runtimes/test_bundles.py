"""Bundles in all ways to run them: compilers, a cross-compiler with an emulator, Node, a browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
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
    pytest.mark.skipif(not os.environ.get("DTC_BUNDLES"), reason="builds and fetches for minutes: set DTC_BUNDLES=1"),
]


NAMES = ("silero_vad_v5", "resnet20_cifar10_derived", "ptb_rnnlm_lstm100_derived")


def _cases() -> Iterator[tuple[str, str, str]]:
    """Yield every target with every model, for this machine's processor; for others, which are emulated, one model."""
    for name, target in sorted(deploy_targets().items()):
        for processor in target.processors or ("",):
            models = NAMES if processor in ("", HOST) else NAMES[-1:]
            yield from ((name, processor, model) for model in models)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path | None]:
    """Return what gives the native library for another processor than this machine's, built once."""

    def build(processor: str) -> Path | None:
        if processor in ("", HOST):
            return None
        folder = tmp_path_factory.mktemp(processor)
        PROCESSORS[processor].build_library(folder)
        return next(folder.iterdir())

    return cache(build)


@pytest.mark.parametrize(("target", "processor", "name"), list(_cases()))
def test_a_real_model_runs_from_its_bundle(
    target: str,
    processor: str,
    name: str,
    real_model: Callable[[str], RealModel],
    libraries: Callable[[str], Path | None],
    tmp_path: Path,
) -> None:
    lower = deploy_targets()[target].lowering
    model = real_model(name)
    options = DeployOptions(fixed=MODELS[name], processor=processor or None, library=libraries(processor))
    deploy(model.path, target, tmp_path / "original", options)
    small = model.written("binary", lower).path
    deploy(small, target, tmp_path / "small", replace(options, reference=model.path))
    found = check_bundle(tmp_path / "small", beside=tmp_path / "original", seconds=0.1)
    assert not found.failures
    assert found.beside is not None
    assert found.bundle.model_bytes < 0.5 * found.beside.model_bytes
    assert [run.reason for run in found.bundle.runs if run.outcome == "missing"] == []
    assert any(run.outcome == "right" for run in found.bundle.runs)


FORMS = ("svd", "prune", "binary", "codebook")
FOR_C = (
    "mnist-8",
    "resnet20_cifar10_derived",
    "ptb_rnnlm_lstm100_derived",
    "silero_vad_v5",
    "dtln_model_1",
    "gtcrn_simple",
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FOR_C)
def test_a_program_in_c_of_a_real_model_computes_on_each_form(
    name: str, form: str, real_model: Callable[[str], RealModel], tmp_path: Path
) -> None:
    small = real_model(name).written(form, "compute").path
    told = deploy(small, "c", tmp_path / "small", DeployOptions(fixed=MODELS.get(name, {})))
    if name == "silero_vad_v5" and form != "svd":
        assert told.figures["weights"] + told.figures["other constants"] <= 200_000
    found = check_bundle(tmp_path / "small", seconds=0)
    assert [(run.name, run.reason) for run in found.bundle.runs if run.outcome != "right"] == []
