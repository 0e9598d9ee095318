"""Where the private copy lies and how a failing pip is reported."""

from __future__ import annotations

import pytest

from dtc.errors import EngineError
from dtc.training.ort import install as engine


def test_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DTC_CACHE", str(tmp_path))
    assert engine.cache_folder() == tmp_path
    assert engine.installed() is None


def test_a_python_without_wheels_is_named(monkeypatch):
    monkeypatch.setattr(engine.sys, "version_info", (3, 13, 0))
    assert "3.13" in (engine.available() or "")


def test_offline_says_how_to_install_from_a_file(monkeypatch, tmp_path):
    if engine.available():
        pytest.skip("no engine for this machine")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(EngineError, match="PIP_FIND_LINKS"):
        engine.install(tmp_path)
    assert list(tmp_path.iterdir()) == []
