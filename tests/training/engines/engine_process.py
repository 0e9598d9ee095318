"""An engine in a process of its own, as tests ask it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import pytest

from dtc.locking import try_lock
from dtc.training.engine_kind import EngineKind

HERE = Path(__file__).parent


@dataclass
class EngineProcess:
    """What the process of an engine says of scripts of cases: JSON, for each case a result or the text of an error.

    The process is started as a worker is, with the engine's own packages first on the path. A script runs once for all
    tests, whichever process they run in.

    Attributes:
        kind: The engine.
        answers: A folder for what was said, which all processes of the tests share.
    """

    kind: EngineKind
    answers: Path
    _said: dict[tuple[Path, tuple[str, ...]], Any] = field(default_factory=dict)

    def run(self, script: Path, *arguments: str) -> Any:
        if (script, arguments) not in self._said:
            self._said[script, arguments] = json.loads(self._answer(script, arguments))
        return self._said[script, arguments]

    def _answer(self, script: Path, arguments: tuple[str, ...]) -> str:
        asked = json.dumps([self.kind.name, str(script), *arguments])
        path = self.answers / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"
        with path.with_suffix(".lock").open("wb") as lock:
            while not try_lock(lock):  # another process of the tests is asking the same
                time.sleep(0.05)
            if not path.exists():
                path.write_text(self._asked(script, arguments))
            return path.read_text()

    def _asked(self, script: Path, arguments: tuple[str, ...]) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([str(script), *arguments]) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        self._words.seek(0)
        words = self._words.read().decode()
        assert not words, words
        return answer

    @cached_property
    def _server(self) -> subprocess.Popen[str]:
        environment = dict(self.kind.command().environment)
        environment["PYTHONPATH"] += os.pathsep + str(HERE)
        environment["ENGINE_UNDER_TEST"] = self.kind.name
        command = [sys.executable, "-P", str(HERE / "case_server.py")]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._words}
        return subprocess.Popen(command, env=environment, text=True, **streams)

    @cached_property
    def _words(self) -> IO[bytes]:
        return tempfile.TemporaryFile()

    def close(self) -> None:
        """End the process, where one was started."""
        if "_server" in self.__dict__:
            self._server.communicate()
            self._words.close()


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
