"""Huffman codes: the shortest there are within their limit, and exact."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.forms.huffman import LONGEST, SEGMENT, SPARE, HuffmanCode, code_lengths, coded_bytes


def shortest(counts: list[int]) -> int:
    """Bits of an unlimited Huffman code, by the textbook."""
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    total = heap[0] if len(heap) == 1 else 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=40).filter(any))
def test_lengths_are_those_of_the_best_code(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts)).astype(int)
    used = lengths[np.array(counts) > 0]
    assert ((lengths > 0) == (np.array(counts) > 0)).all()
    assert used.max() <= LONGEST
    if len(used) > 1:
        assert sum(2.0**-length for length in used) == 1
    bits = int((lengths * counts).sum())
    assert bits >= shortest(counts)
    if used.max() < LONGEST:
        assert bits == shortest(counts)


def test_lengths_stay_within_the_limit_where_the_best_code_does_not() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 24:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = code_lengths(np.array(fibonacci)).astype(int)
    assert lengths.max() == LONGEST
    assert sum(2.0**-length for length in lengths) == 1
    assert (lengths * fibonacci).sum() < 1.01 * shortest(fibonacci)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3 * SEGMENT), st.sampled_from([1, 2, 3, 8, 200, 256, 257, 1000]), st.integers(0, 10**6))
def test_symbols_come_back(count: int, entries: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    symbols = rng.choice(entries, count, p=rng.dirichlet(np.full(entries, 0.3)))
    code = HuffmanCode.encode(symbols)
    np.testing.assert_array_equal(code.decode(count), symbols)
    again = HuffmanCode.unpack(code.pack())
    np.testing.assert_array_equal(again.decode(count), symbols)
    assert code.nbytes == sum(part.nbytes for part in code.pack().values())
    assert code.nbytes == coded_bytes(np.bincount(symbols, minlength=entries))


def test_a_code_is_about_as_long_as_the_entropy() -> None:
    share = np.array([0.5, 0.25, 0.125, 0.125])
    symbols = np.random.default_rng(0).choice(4, 100_000, p=share)
    bits = 8 * (len(HuffmanCode.encode(symbols).stream) - SPARE) / len(symbols)
    assert bits == pytest.approx(-(share * np.log2(share)).sum(), rel=0.01)


def test_one_symbol_alone_takes_a_bit() -> None:
    code = HuffmanCode.encode(np.full(17, 5))
    assert code.lengths.tolist() == [1]
    assert code.order.tolist() == [5]
    assert len(code.stream) == 3 + SPARE
    assert code.decode(17).tolist() == [5] * 17
