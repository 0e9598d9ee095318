"""The generated pages say what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages as they are written now."""
    folder = tmp_path_factory.mktemp("docs")
    subprocess.run([sys.executable, str(ROOT / "docs" / "generate"), "--into", str(folder)], check=True)
    return folder


def test_every_generated_page_is_up_to_date(written: Path) -> None:
    names = [path.relative_to(written) for path in written.rglob("*.*")]
    assert len(names) > 3
    for name in names:
        now, kept = (folder / name for folder in (written, ROOT / "docs"))
        assert kept.exists(), f"{name}: run python docs/generate"
        assert kept.read_text(encoding="utf-8") == now.read_text(encoding="utf-8"), f"{name}: run python docs/generate"


def test_no_page_of_a_method_is_left_over(written: Path) -> None:
    kept, now = ({path.name for path in (folder / "methods").iterdir()} for folder in (ROOT / "docs", written))
    assert kept == now
