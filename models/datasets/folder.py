"""The folder of the public data sets, which the environment variable DTC_DATA names."""

from __future__ import annotations

import os
from pathlib import Path

from dtc.errors import DataError


def data_file(name: str) -> Path:
    """Return a file or folder of the data folder.

    Raises:
        DataError: It is not there, or DTC_DATA is not set.
    """
    folder = os.environ.get("DTC_DATA")
    if not folder:
        raise DataError(f"the environment variable DTC_DATA is not set; it must name the folder that holds {name}")
    path = Path(folder) / name
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; put {name} there or set DTC_DATA to where it is")
    return path
