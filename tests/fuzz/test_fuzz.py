"""Some damaged models; `python tests/fuzz/run.py` tries thousands. Seeds that once found something are kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("a fork is needed", allow_module_level=True)

from mutants import mutant
from run import commands_of
from seeds import seeds
from trial import COMMANDS, faults

KEPT = [int(line) for line in Path(__file__).with_name("kept.txt").read_text().split()]


def test_the_models_are_whole() -> None:
    for name, model in seeds():
        assert faults(model.SerializeToString(), COMMANDS[:2]) == [], name


@pytest.mark.parametrize("seed", [*range(8), *KEPT])
def test_a_damaged_model_ends_in_one_line(seed: int) -> None:
    name, content = mutant(seeds(), seed)
    assert faults(content, commands_of(seed)) == [], name
