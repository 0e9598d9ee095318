"""The codebook form: exact, no larger than it says, and closed to damaged parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.forms import Codebook, Codewords, pack_form, stored_bytes, unpack_form
from dtc.forms.huffman import MOST_ENTRIES, NODES
from dtc.forms.index_fields import bits_for, field_widths, pack_indices, row_bytes, unpack_indices


@st.composite
def codebooks(draw: st.DrawFn) -> Codebook:
    rows, cols = draw(st.integers(1, 12)), draw(st.integers(1, 30))
    block, count = draw(st.sampled_from([1, 2, 4, 8, 9])), draw(st.sampled_from([1, 2, 3, 5, 16, 100, 256, 300, 5000]))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    zero, masked = draw(st.booleans()), draw(st.booleans())
    bits = draw(st.sampled_from([2, 3, 4, 5, 6, 7, 8, 16, 32]))
    words = Codewords.encode(rng.normal(size=(count, block)).astype(np.float32), bits)
    indices = rng.integers(0, count + zero, (rows, -(-cols // block))).astype(np.uint16)
    mask = rng.random((rows, cols)) < draw(st.sampled_from([0.0, 0.3, 1.0])) if masked else None
    if mask is not None and block == 1:
        indices = np.where(mask, indices, 0).astype(np.uint16)
    gain = draw(st.sampled_from([None, np.float32(0.37)]))
    huffman = count + zero <= MOST_ENTRIES and draw(st.booleans())
    name = draw(st.sampled_from([None, "table"]))
    return Codebook(indices, words, cols, gain, zero, mask, name, huffman=huffman)


@settings(max_examples=150, deadline=None)
@given(codebooks())
def test_unpacking_gives_the_same_matrix_bit_for_bit(form: Codebook) -> None:
    parts = form.pack()
    again = Codebook.unpack({name: array.copy() for name, array in parts.items()})
    assert again.dense().tobytes() == form.dense().tobytes()
    assert form.dense().dtype == np.float32
    assert form.dense().shape == form.shape
    assert form.nbytes == sum(array.nbytes for name, array in parts.items() if name != "name") == again.nbytes
    assert unpack_form(pack_form(form)).dense().tobytes() == form.dense().tobytes()
    if form.mask is not None:
        assert not form.dense()[~form.mask].any()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 16), st.integers(1, 5), st.integers(1, 40), st.integers(0, 99))
def test_indices_of_any_width_come_back(bits: int, rows: int, count: int, seed: int) -> None:
    indices = np.random.default_rng(seed).integers(0, 2**bits, (rows, count)).astype(np.uint16)
    packed = pack_indices(indices, bits)
    assert packed.shape == (rows, row_bytes(bits, count))
    assert sum(field_widths(bits)) == bits
    assert row_bytes(bits, count) * 8 < bits * count + 8 * len(field_widths(bits))
    np.testing.assert_array_equal(unpack_indices(packed, bits, count), indices)


def test_widths_that_divide_a_byte_are_the_plain_stream_least_significant_first() -> None:
    assert pack_indices(np.array([[1, 2, 15]]), 4).tolist() == [[0x21, 0x0F]]
    assert pack_indices(np.array([[1, 0, 0, 0, 0, 0, 0, 1]]), 1).tolist() == [[0x81]]
    assert pack_indices(np.array([[0b101, 0b110]]), 3).tolist() == [[0b1001, 0b11]]  # low two bits, then the high ones


def test_the_smallest_width_holds_the_largest_index() -> None:
    assert [bits_for(count) for count in (1, 2, 3, 16, 17, 256, 257, 65536)] == [1, 1, 2, 4, 5, 8, 9, 16]


def test_a_scalar_codebook_takes_what_the_arithmetic_says() -> None:
    """algorithms.md 9: N ceil(log2 K) + K b bits, and the few numbers of the layout."""
    words = Codewords.encode(np.arange(16, dtype=np.float32)[:, None], 32)
    form = Codebook(np.zeros((300, 400), np.uint16), words, 400)
    assert form.nbytes == 300 * 400 * 4 // 8 + 16 * 4 + 32
    assert form.index_bytes == 60000


def test_the_survivors_alone_are_stored_beside_a_mask() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((64, 64)) < 0.1
    words = Codewords.encode(rng.normal(size=(16, 1)).astype(np.float32), 32)
    form = Codebook(np.where(mask, rng.integers(0, 16, mask.shape), 0).astype(np.uint16), words, 64, mask=mask)
    assert form.nbytes == -(-int(mask.sum()) // 2) + 64 * 8 + 64 + 32


def skewed(size: int, *, share: float = 0.02) -> Codebook:
    """Most indices are 0, the others any of 16."""
    rng = np.random.default_rng(0)
    indices = np.where(rng.random((size, size)) < share, rng.integers(0, 16, (size, size)), 0).astype(np.uint16)
    return Codebook(indices, Codewords.encode(np.arange(16, dtype=np.float32)[:, None], 32), size)


def test_indices_are_huffman_coded_where_that_is_smaller_with_its_nodes() -> None:
    long, large, even = skewed(300, share=0.85), skewed(300), skewed(300, share=1)
    assert 0 < long.saved_by_huffman < NODES
    assert not long.smaller_coded().huffman
    assert skewed(50).smaller_coded().huffman, "small matrices are decoded together"
    assert not even.smaller_coded().huffman
    assert "fixed width is the smaller" in even.detail
    coded = large.smaller_coded()
    assert coded.huffman
    assert f"Huffman: {coded.index_bytes}" in large.detail
    assert coded.detail.startswith(f"16 codewords of 1 x 32 bits, indices Huffman coded: {coded.index_bytes} bytes (")
    assert coded.index_bytes < 0.3 * large.index_bytes  # a bit and little more for most of 4
    assert coded.dense().tobytes() == large.dense().tobytes()


def test_a_huffman_code_has_limits() -> None:
    words = Codewords.encode(np.zeros((2000, 1), np.float32), 32)
    form = Codebook(np.zeros((40, 50), np.uint16), words, 50)
    assert form.huffman_bytes is None
    assert not form.smaller_coded().huffman
    with pytest.raises(ValueError, match="too many for a Huffman code"):
        replace(form, huffman=True)


def test_a_shared_table_counts_once() -> None:
    words = Codewords.encode(np.zeros((4, 2), np.float32), 32)
    forms = [Codebook(np.zeros((8, 4), np.uint16), words, 8, name="t") for _ in range(3)]
    assert stored_bytes(forms) == 3 * (forms[0].nbytes - 32) + 32


def damaged() -> dict[str, object]:
    layout = np.array([4, 6, 4, 1, 10, 1, 32, 0], np.int32)
    return {
        "a missing part": {"codewords": None},
        "indices too short": {"indices": np.zeros((4, 2), np.uint8)},
        "indices of another type": {"indices": np.zeros((4, 3), np.int64)},
        "indices out of range": {"indices": np.full((4, 3), 0xFF, np.uint8)},
        "too few codewords": {"codewords": np.zeros((9, 1), np.float32)},
        "codewords of another type": {"codewords": np.zeros((10, 1), np.float64)},
        "codewords that are not finite": {"codewords": np.full((10, 1), np.nan, np.float32)},
        "an enormous layout": {"layout": np.where(np.arange(8) == 1, 2**30, layout).astype(np.int32)},
        "a negative layout": {"layout": -layout},
        "a short layout": {"layout": layout[:5]},
        "17 bits": {"layout": np.where(np.arange(8) == 2, 17, layout).astype(np.int32)},
        "a mask of another shape": {"mask": np.zeros((3, 1), np.uint8)},
        "a gain that is not finite": {"gain": np.array([np.inf], np.float32)},
        "two gains": {"gain": np.ones(2, np.float32)},
    }


@pytest.mark.parametrize("what", damaged())
def test_damaged_parts_are_refused_in_one_line(what: str) -> None:
    words = Codewords.encode(np.arange(10, dtype=np.float32)[:, None], 32)
    parts = Codebook(np.zeros((4, 6), np.uint16), words, 6).pack()
    changed = parts | damaged()[what]  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"packed codebook: .*damaged") as caught:
        Codebook.unpack({name: array for name, array in changed.items() if array is not None})
    assert "\n" not in str(caught.value)


def damaged_code() -> dict[str, object]:
    return {
        "a missing part": {"stream": None},
        "a stream cut short": {"stream": np.zeros(5, np.uint8)},
        "no stream": {"stream": np.zeros(0, np.uint8)},
        "a stream of another type": {"stream": np.zeros(4000, np.int32)},
        "segments missing": {"starts": np.zeros(1, np.int32)},
        "a segment behind the end": {"starts": np.array([0, 10**6], np.int32)},
        "a segment before the beginning": {"starts": np.array([-5, 0], np.int32)},
        "no symbols": {"lengths": np.zeros(0, np.uint8), "order": np.zeros(0, np.uint8)},
        "a symbol twice": {"order": np.array([0, 1, 1, 3], np.uint8)},
        "a symbol that is none": {"order": np.array([0, 1, 2, 200], np.uint8)},
        "code words that overlap": {"lengths": np.array([1, 1, 1, 1], np.uint8)},
        "code words too long": {"lengths": np.array([1, 2, 3, 200], np.uint8)},
        "a code word of no bits": {"lengths": np.array([0, 2, 3, 3], np.uint8)},
        "lengths in disorder": {"lengths": np.array([3, 2, 1, 3], np.uint8)},
    }


@pytest.mark.parametrize("what", damaged_code())
def test_a_damaged_huffman_code_is_refused_in_one_line(what: str) -> None:
    words = Codewords.encode(np.arange(4, dtype=np.float32)[:, None], 32)
    rng = np.random.default_rng(0)
    indices = rng.choice(4, (80, 60), p=[0.6, 0.2, 0.1, 0.1]).astype(np.uint16)
    parts = Codebook(indices, words, 60, huffman=True).pack()
    changed = parts | damaged_code()[what]  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"packed codebook: .*damaged") as caught:
        Codebook.unpack({name: array for name, array in changed.items() if array is not None})
    assert "\n" not in str(caught.value)
