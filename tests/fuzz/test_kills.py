"""A few kills; `python tests/fuzz/kills.py` does fifty."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("a fork is needed", allow_module_level=True)

from kills import KINDS, try_kills


def test_a_kill_tears_and_loses_nothing(tmp_path: Path) -> None:
    assert try_kills(len(KINDS), tmp_path, seed=1).found == []
