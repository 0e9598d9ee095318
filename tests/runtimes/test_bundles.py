"""Bundles in all ways to run them: compilers, a cross-compiler with an emulator, Node, a browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_files import RealModel

from dtc.bundles import DeployOptions, check_bundle, deploy
from dtc.deploy.target import deploy_targets

pytestmark = [
    pytest.mark.runtimes,
    pytest.mark.xdist_group("bundles"),
    pytest.mark.skipif(not os.environ.get("DTC_RUNTIMES"), reason="builds and fetches for minutes: set DTC_RUNTIMES"),
]

FIXED: dict[str, dict[str, Any]] = {"silero_vad_v5": {"sr": np.array(16000)}}


def _cases() -> Iterator[tuple[str, str]]:
    for name, target in sorted(deploy_targets().items()):
        yield from ((name, processor) for processor in target.processors or ("",))


@pytest.mark.parametrize(("target", "processor"), list(_cases()))
@pytest.mark.parametrize("name", ["silero_vad_v5", "resnet20_cifar10_derived", "ptb_rnnlm_lstm100_derived"])
def test_a_real_model_runs_from_its_bundle(
    target: str, processor: str, name: str, real_model: Callable[[str], RealModel], tmp_path: Path
) -> None:
    lower = "compute" if deploy_targets()[target].processors else "standard"
    model = real_model(name)
    fixed = FIXED.get(name, {})
    reference = DeployOptions(fixed=fixed, processor=processor or None)
    options = DeployOptions(fixed=fixed, processor=processor or None, reference=model.path)
    deploy(model.path, target, tmp_path / "original", reference)
    deploy(model.written("binary", lower).path, target, tmp_path / "small", options)
    found = check_bundle(tmp_path / "small", beside=tmp_path / "original", seconds=0.1)
    assert not found.failures
    assert found.beside is not None
    assert found.bundle.model_bytes < 0.5 * found.beside.model_bytes
    assert [run.reason for run in found.bundle.runs if run.outcome == "missing"] == []
    assert any(run.outcome == "right" for run in found.bundle.runs)
