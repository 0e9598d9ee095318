"""Every target of `dtc deploy` is held to the same promises: what its bundles hold and say, and that they run."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from switched_model import write_switched

from dtc.bundles import BundleDescription, check_bundle, deploy
from dtc.bundles.description import read_description
from dtc.bundles.making import DeployOptions
from dtc.deploy.target import deploy_targets, find_deploy_target
from dtc.errors import UsageError
from dtc.session import runner, session

TARGETS = sorted(deploy_targets())


@pytest.fixture(scope="module", params=TARGETS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    model = write_switched(folder / "switched.onnx")
    options = DeployOptions(fixed={"sr": np.array(16000)}, reference=write_switched(folder / "reference.onnx", 1.01))
    deploy(model, request.param, folder / "bundle", options)
    return folder / "bundle"


def test_a_bundle_says_what_it_is(bundle: Path) -> None:
    told = BundleDescription.model_validate_json((bundle / "deploy.json").read_bytes())
    assert told.target in TARGETS
    assert (told.fixed, told.cases, [each.name for each in told.inputs]) == ({"sr": 16000}, 3, ["x"])
    assert max(told.error.values()) <= 1e-6
    assert told.from_reference["y"] == pytest.approx(0.01 / 1.01, rel=1e-3)
    assert {"dtc", "onnxruntime"} <= set(told.versions)
    held = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {file.path for file in told.files} == held - {"deploy.json"}
    for file in told.files:
        content = (bundle / file.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)
    assert json.loads((bundle / "deploy.json").read_text())["schema"] == "dtc-bundle/1"


def test_a_bundle_holds_its_vectors_in_the_order_of_the_model(bundle: Path) -> None:
    running = session(bundle / "model.onnx")
    for case in range(3):
        x, y, sizes = (
            np.load(bundle / "vectors" / f"{case}.{each}.npy") for each in ("input.0", "output.0", "output.1")
        )
        found = runner(running)({"x": x})
        np.testing.assert_allclose(found["y"], y, rtol=1e-5, atol=1e-6)
        assert sizes.tolist() == list(x.shape)
    assert np.load(bundle / "vectors" / "0.input.0.npy").shape[0] == 1
    assert float((bundle / "vectors" / "tolerance.txt").read_text()) == 1e-3


def test_a_readme_of_ten_lines_says_how_it_runs(bundle: Path) -> None:
    text = (bundle / "README.md").read_text()
    assert len([line for line in text.splitlines() if line]) <= 10
    assert not re.search(r"\{[a-z]+\}", text)
    assert "switched.onnx" in text
    one_size = find_deploy_target(read_description(bundle).target).one_size
    assert f"`x` float32 [{1 if one_size else 'N'}, 16]" in text
    assert "Apache License" in (bundle / "LICENSES.txt").read_text()


def test_a_bundle_runs_or_says_what_is_missing(bundle: Path) -> None:
    target = find_deploy_target(read_description(bundle).target)
    processor = next(iter(target.processors), "")
    names = [run.name for run in target.runs(processor)]
    assert names
    assert len(names) == len(set(names))
    assert target.title
    assert not target.title.endswith(".")


def test_what_was_changed_is_no_bundle(bundle: Path) -> None:
    model = bundle / "model.onnx"
    content = model.read_bytes()
    try:
        model.write_bytes(content + b"\0")
        with pytest.raises(UsageError, match=r"model\.onnx: is not as dtc wrote it"):
            check_bundle(bundle)
    finally:
        model.write_bytes(content)


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_target_brings_is_text_of_our_own(name: str) -> None:
    target = deploy_targets()[name]
    paths = [path for path in target.files.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert target.files / "README.md" in paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert len(text) < 64_000
        assert "registry." not in text
