"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of public data and models, from the environment variable DTC_DATA."""
    folder = os.environ.get("DTC_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = "set DTC_DATA to the folder of test data and models"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
