"""What tests share: where the public data and models lie."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from needed import lacking

# The finder of an editable install hides from slipcover that a module has a source, so that no branch of it is counted.
# `python -m slipcover` has the checkout on the path, where the packages are found without it.
if "SLIPCOVER_ENABLED" in os.environ:
    sys.meta_path.sort(key=lambda finder: type(finder).__module__.startswith("_editable"))

from dtc.cli import main
from dtc.cli.app import app
from dtc.pipeline.watch import VERIFY

os.environ[VERIFY] = "1"  # every compression of a test checks the model after each stage, in other processes too


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that DTC_DATA names; in CI a missing one is a failure."""
    folder = Path(os.environ.get("DTC_DATA", ""))
    if not (os.environ.get("DTC_DATA") and folder.is_dir()):
        lacking("DTC_DATA must name the folder of public data and models")
    return folder


@pytest.fixture(scope="session")
def case(data_dir: Path) -> Callable[[str], Path]:
    """Return what finds a small model of the folder `cases` beside the data; in CI a missing one is a failure."""

    def find(name: str) -> Path:
        path = data_dir.parent / "cases" / f"{name}.onnx"
        if not path.is_file():
            lacking(f"no {name}.onnx in the folder cases beside DTC_DATA")
        return path

    return find


@pytest.fixture
def dtc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process; gives exit status, standard output, standard error.

    Latency and memory are measured where a test asks for it (`--seconds`): that takes as long as all else together.
    """
    monkeypatch.setitem(app.context_settings, "default_map", {"compress": {"seconds": 0.0}, "check": {"seconds": 0.0}})

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dtc", *map(str, arguments)])
        status: object = 0
        try:
            main()
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return (status if isinstance(status, int) else 0), captured.out, captured.err

    return run
