"""The contract of the engines: each test here runs for every engine that is found, and for the fake one of the tests.

An engine may refuse a case with an EngineError that names node or initializer; what it does not refuse must be right.
`network_cases.py` is what no engine may refuse. What belongs to one engine alone is in a folder of
its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engine_process import HERE, EngineProcess
from needed import lacking

from dtc.training.engine_kind import engines


@pytest.fixture(scope="session")
def engine_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], EngineProcess]]:
    """Return what gives the process of an engine by name: one for all tests of this process."""
    running: dict[str, EngineProcess] = {}
    temporary = tmp_path_factory.getbasetemp()
    answers = (temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary) / "answers"
    answers.mkdir(exist_ok=True)

    def find(name: str) -> EngineProcess:
        kind = engines()[name]
        if reason := kind.unavailable():
            lacking(reason)
        return running.setdefault(name, EngineProcess(kind, answers))

    yield find
    for process in running.values():
        process.close()


@pytest.fixture(params=[*sorted(engines()), "fake"])
def engine(
    request: pytest.FixtureRequest, fake_engine_found: None, engine_process: Callable[[str], EngineProcess]
) -> EngineProcess:
    """Each engine in turn."""
    return engine_process(request.param)


@pytest.fixture
def ort(fake_engine_found: None, engine_process: Callable[[str], EngineProcess]) -> EngineProcess:
    return engine_process("ort")


@pytest.fixture
def torch_engine(fake_engine_found: None, engine_process: Callable[[str], EngineProcess]) -> EngineProcess:
    return engine_process("torch")


@pytest.fixture
def cases(engine: EngineProcess) -> Callable[[str], Any]:
    """Return what the engine says of a script of cases beside this file."""
    return lambda script: engine.run(HERE / script)
