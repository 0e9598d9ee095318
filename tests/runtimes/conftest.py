"""What the tests in other runtimes share: real models in all forms, written once, and the runtimes to try."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from real_files import RealModel

from dtc.checking.runtime import Runtime, find_runtime
from dtc.errors import UsageError


@pytest.fixture(scope="session")
def real_model(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RealModel]:
    """Return what gives a real model by its name."""
    folder = tmp_path_factory.mktemp("written")
    return cache(lambda name: RealModel(next(data_dir.glob(f"*/{name}.onnx")), folder))


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """The runtime that a test is for; where DTC_RUNTIMES names it, it must be there."""
    try:
        return find_runtime(request.param)
    except UsageError as error:
        if os.environ.get("DTC_RUNTIMES"):
            pytest.fail(str(error))
        pytest.skip(f"{error}, or name interpreters that have it: DTC_RUNTIMES=openvino@PYTHON,...")
