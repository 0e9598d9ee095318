"""What tests share: where the public data and models lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that DTC_DATA names; in CI a missing one is a failure."""
    folder = Path(os.environ.get("DTC_DATA", ""))
    if os.environ.get("DTC_DATA") and folder.is_dir():
        return folder
    if os.environ.get("CI"):
        pytest.fail("DTC_DATA must name the folder of public data and models")
    pytest.skip("set DTC_DATA to the folder of public data and models")
