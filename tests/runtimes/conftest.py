"""What the tests in other runtimes share: real models in all forms, written once, and the runtimes to try."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from real_files import FORMS, MODELS, Told

from dtc.checking.elsewhere import Expected
from dtc.checking.runtime import Runtime, find_runtime
from dtc.errors import UsageError
from dtc.graph import load_model, save_model
from dtc.passes.lower import find_target, lower
from dtc.passes.plan import make_plan
from dtc.passes.prepare import normalise, strip_training
from dtc.recipe import Rule
from dtc.sample_inputs import InputSampler
from dtc.session import runner, session


@pytest.fixture(scope="session")
def original(data_dir: Path) -> Callable[[str], Told]:
    """Return what gives a model with what ONNX Runtime computes of it, and the inputs."""

    @cache
    def of(name: str) -> Told:
        path = data_dir / "onnx" / f"{name}.onnx"
        sampler = InputSampler(load_model(path), runner(session(path)), seed=0, fixed=MODELS[name])
        feeds = [dict(feed) for feed in sampler.draws(1)]
        return Expected.of(path, feeds), feeds

    return of


@pytest.fixture(scope="session")
def written(
    original: Callable[[str], Told], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str, str], Expected]:
    """Return what writes a model in a form for a target, and says what ONNX Runtime computes of the file."""
    folder = tmp_path_factory.mktemp("written")

    @cache
    def of(name: str, form: str, target: str) -> Expected:
        (expected, feeds), path = original(name), folder / f"{name}.{form}.{target}.onnx"
        model = load_model(expected.path)
        normalise(model)
        plan = make_plan(model, [Rule(method=form, options=dict(FORMS[form]))])
        distorted = plan.distort()
        for site in plan.sites:
            if site.name in distorted.dense:
                site.assign(distorted.dense[site.name])
        strip_training(model)
        lowering, _, inlined = target.partition(" ")
        lower(model, plan.compressed(distorted.forms), find_target(lowering, inlined=bool(inlined)))
        save_model(model, path)
        return Expected.of(path, feeds)

    return of


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """The runtime that a test is for; where DTC_RUNTIMES names it, it must be there."""
    try:
        return find_runtime(request.param)
    except UsageError as error:
        if os.environ.get("DTC_RUNTIMES"):
            pytest.fail(str(error))
        pytest.skip(f"{error}, or name interpreters that have it: DTC_RUNTIMES=openvino@PYTHON,...")
