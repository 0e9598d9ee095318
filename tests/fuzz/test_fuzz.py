"""Some damaged files; `python tests/fuzz/run.py` tries thousands. What once found something is kept in `kept.txt`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("a fork is needed", allow_module_level=True)

from cases import METHODS, case, names, whole_case
from trial import tried

from dtc.passes.method import methods

KEPT = [line.rsplit(" ", 1) for line in Path(__file__).with_name("kept.txt").read_text().splitlines()]


def test_every_method_is_tried() -> None:
    assert methods().keys() <= METHODS.keys()


@pytest.mark.parametrize("name", names())
def test_what_is_whole_is_taken(name: str) -> None:
    whole = whole_case(name)
    ending = tried(whole)
    assert ending.faults == []
    assert ending.succeeded > 0


def test_damaged_files_end_in_one_line() -> None:
    drawn = [(name, number) for number, name in enumerate(names())]
    drawn += [(name, int(number)) for name, number in KEPT]
    faults = {f"{name} {number}": tried(case(name, number)).faults for name, number in drawn}
    assert {told: each for told, each in faults.items() if each} == {}
