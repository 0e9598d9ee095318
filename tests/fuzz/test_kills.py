"""A few kills; `python tests/fuzz/kills.py` does fifty."""

from __future__ import annotations

from pathlib import Path

from kills import try_kills


def test_a_kill_tears_and_loses_nothing(tmp_path: Path) -> None:
    assert try_kills(3, tmp_path, seed=1) == []
