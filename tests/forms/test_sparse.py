"""The sparse form: exact storage, the smallest pattern, hostile parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dtc.forms import Form, pack_form, unpack_form
from dtc.forms.sparse import Sparse
from dtc.forms.sparse_pattern import Bitmap, Csr, Lines

MATRICES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40),
    elements=st.one_of(st.just(0.0), st.just(-0.0), st.floats(-(2.0**100), 2.0**100, width=32)),
)


def scattered(rows: int, cols: int, density: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((rows, cols)).astype(np.float32)
    return np.where(rng.random((rows, cols)) < density, matrix, np.float32(0))


@settings(max_examples=150, deadline=None)
@given(MATRICES)
def test_every_pattern_stores_a_matrix_bit_for_bit(matrix: np.ndarray) -> None:
    expected = (matrix + np.float32(0)).view(np.uint32)  # -0.0 becomes +0.0, nothing else changes
    kept = matrix != 0
    kept[0, 0] = True
    lines = [np.asarray(kept.any(axis=1 - axis)) for axis in (0, 1)]
    patterns = [Bitmap.of(kept), Csr.of(kept)]
    patterns += [Lines.of(lines[axis], axis, matrix.shape[1 - axis]) for axis in (0, 1)]
    forms = [Sparse(pattern.take(matrix) + np.float32(0), pattern) for pattern in patterns] + [Sparse.of(matrix)]
    for form in forms:
        again = unpack_form(pack_form(form))
        assert isinstance(again, Form)
        assert again.nbytes == form.nbytes == sum(array.nbytes for array in form.pack().values())
        np.testing.assert_array_equal(form.dense().view(np.uint32), expected)
        np.testing.assert_array_equal(again.dense().view(np.uint32), expected)
    assert forms[-1].nbytes == min(form.nbytes for form in forms)


@pytest.mark.parametrize(
    ("cols", "density", "pattern", "index_bytes"),
    [(512, 0.10, Bitmap, 0), (512, 0.05, Csr, 2), (200, 0.10, Csr, 1), (200, 0.15, Bitmap, 0)],
)
def test_the_smallest_pattern_is_taken(cols: int, density: float, pattern: type, index_bytes: int) -> None:
    """A bitmap costs 1 bit a weight, CSR 8 or 16 bits a value: they are even near densities of 1/8 and 1/16."""
    form = Sparse.of(scattered(512, cols, density))
    assert isinstance(form.pattern, pattern)
    places = 513 * 2 if pattern is Csr else 512 * cols // 8
    assert form.nbytes == form.values.size * (4 + index_bytes) + places + 4


def test_bytes_of_a_512_square_at_90_percent() -> None:
    matrix = np.zeros(512 * 512, dtype=np.float32)
    matrix[np.random.default_rng(0).permutation(512 * 512)[:26214]] = 1.5
    form = Sparse.of(matrix.reshape(512, 512))
    assert form.nbytes == 512 * 64 + 26214 * 4 + 4
    assert form.detail == "90 % zeros, bitmap"


def test_whole_rows_and_columns_are_seen() -> None:
    dense = np.random.default_rng(0).standard_normal((60, 50)).astype(np.float32)
    fewer_rows, fewer_cols = dense.copy(), dense.copy()
    fewer_rows[::2] = 0
    fewer_cols[:, :10] = 0
    assert Sparse.of(fewer_rows).pack()["kept"].tolist() == list(range(1, 60, 2))
    assert Sparse.of(fewer_cols).detail == "20 % zeros, 40 of 50 columns"


def test_bits_lie_lsb_first_along_the_input() -> None:
    matrix = np.zeros((2, 11), dtype=np.float32)
    matrix[0, 0] = matrix[0, 2] = matrix[1, 8] = matrix[1, 1] = 7
    np.testing.assert_array_equal(Sparse.of(matrix).pack()["bitmap"], [[0b101, 0], [0b10, 0b1]])


def test_float16_values_round_and_what_underflows_is_not_stored() -> None:
    matrix = np.array([[1e-9, 1 / 3, 0, 2]], dtype=np.float32)
    form = Sparse.of(matrix, "float16")
    np.testing.assert_array_equal(form.dense(), matrix.astype(np.float16).astype(np.float32))
    assert form.values.dtype == np.float16
    with pytest.raises(ValueError, match="70000 do not fit into float16"):
        Sparse.of(np.full((2, 2), 7e4, dtype=np.float32), "float16")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        Sparse.of(np.array([[1, bad]], dtype=np.float32))


def test_a_matrix_of_zeros_stays_one_and_stores_something() -> None:
    form = Sparse.of(np.zeros((7, 3), dtype=np.float32))
    assert form.values.tolist() == [0.0]
    assert not form.dense().any()
    assert form.sparsity == 1.0


def test_stacking_puts_matrices_below_each_other() -> None:
    matrices = [scattered(9, 30, density, seed) for seed, density in enumerate((0.5, 0.02, 0.0))]
    stacked = Sparse.stack([Sparse.of(matrix) for matrix in matrices])
    np.testing.assert_array_equal(stacked.dense(), np.concatenate(matrices))


def test_a_whole_form_keeps_zeros_too() -> None:
    form = Sparse.whole(scattered(5, 6, 0.5))
    assert form.kept().all()
    np.testing.assert_array_equal(form.dense(), scattered(5, 6, 0.5))


VALUES = np.ones(3, dtype=np.float32)
COLS = np.array([5], dtype=np.uint32)


def csr(columns: list[int], pointers: list[int]) -> dict[str, np.ndarray]:
    return {
        "values": VALUES,
        "columns": np.array(columns, dtype=np.uint8),
        "row_pointers": np.array(pointers, dtype=np.uint8),
        "cols": COLS,
    }


HOSTILE = {
    "nothing": ({}, "without values"),
    "values alone": ({"values": VALUES}, "no sparse pattern"),
    "column outside": (csr([0, 1, 5], [0, 3]), "column 5 is outside"),
    "column twice": (csr([0, 1, 1], [0, 3]), "do not rise"),
    "pointers fall": (csr([0, 1, 2], [0, 3, 2, 3]), "do not rise from 0"),
    "pointers short": (csr([0, 1, 2], [0, 2]), "do not rise from 0"),
    "no pointers": (csr([0, 1, 2], []), "are not CSR"),
    "signed": (csr([0, 1, 2], [0, 3]) | {"columns": np.array([0, 1, -2], dtype=np.int8)}, "unsigned"),
    "too few values": (csr([0, 1, 2], [0, 3]) | {"values": VALUES[:2]}, "do not fit"),
    "not finite": (csr([0, 1, 2], [0, 3]) | {"values": VALUES * np.nan}, "finite"),
    "integer values": (csr([0, 1, 2], [0, 3]) | {"values": np.ones(3, np.int32)}, "float32 or float16"),
    "wide bitmap": ({"values": VALUES, "bitmap": np.full((1, 2), 7, np.uint8), "cols": COLS}, "no bitmap of 5 columns"),
    "pad bit": ({"values": VALUES, "bitmap": np.full((1, 1), 0b10000011, np.uint8), "cols": COLS}, "behind column 5"),
    "line outside": (
        {"values": VALUES, "kept": np.array([4], np.uint8), "shape": np.array([3, 3, 0], np.uint32)},
        "line 4 is outside",
    ),
    "axis": ({"values": VALUES, "kept": np.array([1], np.uint8), "shape": np.array([3, 3, 2], np.uint32)}, "no list"),
    "lines fall": (
        {"values": np.ones(6, np.float32), "kept": np.array([1, 1], np.uint8), "shape": np.array([3, 3, 0], np.uint32)},
        "do not rise",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_parts_are_refused(name: str) -> None:
    parts, message = HOSTILE[name]
    with pytest.raises(ValueError, match=message):
        Sparse.unpack(parts)
