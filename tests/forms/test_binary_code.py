"""The binary-code form: what it stores is what it computes with, and damaged parts are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.forms import BinaryCode, pack_form, unpack_form
from dtc.forms.binary import pack_bits


def random_code(bits: int, rows: int, cols: int, group: int, seed: int, *, offset: bool, kept: float) -> BinaryCode:
    rng = np.random.default_rng(seed)
    groups = -(-cols // group) if group else 1
    dtype = np.float16 if seed % 2 else np.float32
    alphas = -np.sort(-rng.random((bits, rows, groups)), axis=0).astype(dtype)
    return BinaryCode(
        pack_bits(rng.random((bits, rows, cols)) < 0.5),
        alphas,
        cols,
        group,
        rng.standard_normal((rows, groups)).astype(dtype) if offset else None,
        pack_bits(rng.random((rows, cols)) < kept) if kept < 1 else None,
    )


codes = st.builds(
    random_code,
    st.integers(1, 7),
    st.integers(1, 9),
    st.integers(1, 40),
    st.sampled_from([0, 8, 16]),
    st.integers(0, 10),
    offset=st.booleans(),
    kept=st.sampled_from([1.0, 0.6, 0.1, 0.0]),
)


@settings(max_examples=100, deadline=None)
@given(codes)
def test_packed_and_unpacked_gives_the_same_weights_bit_for_bit(form: BinaryCode):
    again = unpack_form(pack_form(form))
    assert again.dense().tobytes() == form.dense().tobytes()
    assert again.nbytes == form.nbytes == sum(v.nbytes for k, v in form.pack().items() if k != "layout")


@settings(max_examples=100, deadline=None)
@given(codes)
def test_dense_is_the_sum_of_scaled_signs_where_kept(form: BinaryCode):
    rows, cols = form.shape
    expected = np.zeros((rows, cols))
    for row in range(rows):
        for col in range(cols):
            bit = [int(form.codes[p, row, col // 8]) >> (col % 8) & 1 for p in range(form.bits)]
            group = col // form.group_size if form.group_size else 0
            value = sum((2 * b - 1) * float(form.alphas[p, row, group]) for p, b in enumerate(bit))
            value += float(form.offset[row, group]) if form.offset is not None else 0
            kept = form.mask is None or int(form.mask[row, col // 8]) >> (col % 8) & 1
            expected[row, col] = value if kept else 0
    np.testing.assert_allclose(form.dense(), expected, rtol=0, atol=2e-6)
    if form.mask is not None:
        assert (form.dense()[~form.kept] == 0).all()


@pytest.mark.parametrize(("kept", "survivors"), [(0.1, True), (1.0, False)])
def test_few_survivors_are_stored_without_the_rest(kept: float, survivors: bool):
    rng = np.random.default_rng(0)
    mask = pack_bits(rng.random((64, 256)) < kept) if kept < 1 else None
    form = BinaryCode(pack_bits(rng.random((1, 64, 256)) < 0.5), np.ones((1, 64, 1), np.float16), 256, mask=mask)
    assert form.coded_survivors is survivors
    assert ("survivors" in form.pack()) is survivors
    bits = 8 * form.nbytes / (64 * 256)
    assert bits == pytest.approx(1 + kept + 16 / 256 if survivors else 1 + 16 / 256, abs=0.02)


def test_bytes_follow_the_formula_of_planes_and_coefficients():
    form = random_code(3, 10, 300, 0, 0, offset=False, kept=1)
    assert form.nbytes == 3 * 10 * 38 + 3 * 10 * 4


def parts() -> dict[str, np.ndarray]:
    return dict(random_code(2, 4, 20, 8, 0, offset=True, kept=0.2).pack())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layout", np.array([20, 8, 4])),
        ("layout", np.array([25, 8, 4, 2])),
        ("layout", np.array([20, 7, 4, 2])),
        ("layout", np.array([-20, 8, 4, 2])),
        ("alphas", np.ones((2, 4, 2), np.float32)),
        ("alphas", np.ones((2, 4, 3), np.float64)),
        ("survivors", np.zeros((2, 1), np.uint8)),
        ("survivors", np.zeros((3, 99), np.uint8)),
        ("mask", np.zeros((4, 2), np.uint8)),
        ("mask", np.zeros((4, 3), np.int64)),
        ("offset", np.ones((4, 3), np.float16)),
        ("offset", np.ones((3, 3), np.float32)),
        ("mask", None),
        ("alphas", None),
        ("layout", None),
    ],
)
def test_damaged_parts_are_refused(name: str, value: np.ndarray | None):
    damaged = parts() | {name: value} if value is not None else {k: v for k, v in parts().items() if k != name}
    if name != "layout" or value is not None:
        assert "survivors" in parts()
    with pytest.raises(ValueError, match=r"\S"):
        BinaryCode.unpack(damaged)
