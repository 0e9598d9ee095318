"""The engine's own process for tests: a script run with the private copy of the training build first on its path."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dtc.training.engines.ort.install import available, install

_START = """
import runpy, sys
private, root, script = sys.argv[1:4]
sys.path[:0] = [private, root]
sys.argv = sys.argv[3:]
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="session")
def in_engine() -> Callable[..., Any]:
    """Run a script beside this file in the engine's process and return the JSON that it prints."""
    if reason := available():
        pytest.skip(reason)
    private = install()
    root = Path(__file__).parents[3]

    def run(script: str, *arguments: str) -> Any:
        path = Path(__file__).with_name(script)
        command = [sys.executable, "-c", _START, str(private), str(root), str(path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    return run
