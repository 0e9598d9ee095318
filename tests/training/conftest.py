"""The fake engine as another distribution would bring it: found by its entry point, in this process and in workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtc.training.engine_kind import engines

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def fake_distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that makes the fake engine known to every Python that has it on its path."""
    folder = tmp_path_factory.mktemp("distribution")
    facts = folder / "fake_engine-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-engine\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[dtc.training.engines]\nfake = fake_engine\n")
    return folder


@pytest.fixture
def fake_engine_found(fake_distribution: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the fake engine be found for the time of a test."""
    monkeypatch.syspath_prepend(fake_distribution)
    paths = [str(fake_distribution), str(HERE), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    engines.cache_clear()
    yield
    engines.cache_clear()
