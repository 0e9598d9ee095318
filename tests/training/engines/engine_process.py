"""An engine in a process of its own, as tests ask it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dtc.training.engine_kind import EngineKind

HERE = Path(__file__).parent


@dataclass
class EngineProcess:
    """What the process of an engine says of scripts of cases: JSON, for each case a result or the text of an error.

    A script runs as a worker does, with the engine's own packages first on the path, and once for all tests.
    """

    kind: EngineKind
    _said: dict[tuple[Path, tuple[str, ...]], Any] = field(default_factory=dict)

    def run(self, script: Path, *arguments: str) -> Any:
        if (script, arguments) not in self._said:
            environment = dict(self.kind.command().environment)
            environment["PYTHONPATH"] += os.pathsep + str(HERE)
            environment["ENGINE_UNDER_TEST"] = self.kind.name
            command = [sys.executable, "-P", str(script), *arguments]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert done.stderr == ""
            self._said[script, arguments] = json.loads(done.stdout)
        return self._said[script, arguments]


def refused(found: object) -> bool:
    """True where an engine said that it cannot do a case, and named the node or the initializer."""
    return isinstance(found, str) and re.match("EngineError: (node|initializer) '", found) is not None


class Results(dict[str, Any]):
    """Results of cases; the test that asks for a case which the engine refuses is skipped with the reason."""

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        if refused(found):
            pytest.skip(found)
        return found
