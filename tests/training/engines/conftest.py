"""The contract of the engines: each test here runs for every engine that is found, and for the fake one of the tests.

An engine may refuse a case with an EngineError that names node or initializer; what it does not refuse must be right.
`network_cases.py` is what no engine may refuse. What belongs to one engine alone is in a folder of
its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from engine_process import HERE, EngineProcess

from dtc.training.engine_kind import engines

_PROCESSES: dict[str, EngineProcess] = {}


@pytest.fixture(params=[*sorted(engines()), "fake"])
def engine(request: pytest.FixtureRequest, fake_engine_found: None) -> EngineProcess:
    """Each engine in turn."""
    return _process(request.param)


@pytest.fixture
def ort(fake_engine_found: None) -> EngineProcess:
    return _process("ort")


@pytest.fixture
def torch_engine(fake_engine_found: None) -> EngineProcess:
    return _process("torch")


def _process(name: str) -> EngineProcess:
    kind = engines()[name]
    if reason := kind.unavailable():
        pytest.skip(reason)
    return _PROCESSES.setdefault(kind.name, EngineProcess(kind))


@pytest.fixture
def cases(engine: EngineProcess) -> Callable[[str], Any]:
    """Return what the engine says of a script of cases beside this file."""
    return lambda script: engine.run(HERE / script)
