"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the public data sets and models, from DTC_DATA."""
    path = os.environ.get("DTC_DATA")
    if path:
        return Path(path)
    if os.environ.get("CI"):
        pytest.fail("DTC_DATA is not set: continuous integration must have the data sets")
    pytest.skip("DTC_DATA is not set: it names the folder of the public data sets and models")
