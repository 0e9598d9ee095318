"""Arrays that lie in a folder: nothing is lost by letting their pages go, and nothing is written twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dtc.errors import ModelError
from dtc.forms import BinaryCode, Codebook, LowRank
from dtc.forms.composite import Product
from dtc.passes.method import Weights, make_method
from dtc.storage import ArrayStore

RNG = np.random.default_rng(1)


def written(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.iterdir())


def test_forms_come_back_whole_with_what_they_have_in_common(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path, large=100)
    weights = Weights("w", RNG.normal(size=(1, 64, 48)).astype(np.float32), "n")
    (code,) = make_method("binary", {"bits": 2}).distort([weights])["w"]
    (book,) = make_method("codebook", {"codewords": 16, "block": 1}).distort([weights])["w"]
    basis = RNG.normal(size=(8, 48)).astype(np.float32)
    low = [LowRank(RNG.normal(size=(rows, 8)).astype(np.float32), basis, "b") for rows in (5, 6)]
    kept = store.keep((code, book, *low, Product(code, code, turned=True)))
    found = store.take(kept)
    store.let_go()
    for form, wanted in zip(found, (code, book, *low, Product(code, code, turned=True)), strict=True):
        np.testing.assert_array_equal(form.dense(), wanted.dense())
    assert isinstance(found[0], BinaryCode)
    assert isinstance(found[1], Codebook)
    assert found[2].right is found[3].right
    assert len(kept.rest) < 4000
    # Another process has files of its own in the folder, and reads those of this one.
    np.testing.assert_array_equal(ArrayStore(tmp_path).take(kept)[0].dense(), code.dense())
    with pytest.raises(ValueError, match="read-only"):
        found[2].left[0, 0] = 1


def test_an_array_has_one_place_however_often_it_is_asked_for(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path, large=100)
    array = RNG.normal(size=(300, 300)).astype(np.float32)
    first = store.place(array)
    assert store.place(array.copy()) == first
    assert bytes(first.read()) == array.tobytes()
    held = store.take(store.keep([array]))[0]
    before = written(tmp_path)
    part = store.place(held[100:])  # a part of what lies there already
    assert written(tmp_path) == before
    assert bytes(part.read()) == array[100:].tobytes()
    assert bytes(store.place(held.T).read()) == array.T.tobytes()
    assert written(tmp_path) > before


def test_a_folder_without_room_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArrayStore(tmp_path / "gone")
    with pytest.raises(ModelError, match=r"gone: cannot be written \(No such file or directory\); make room"):
        store.place(np.zeros(10))
