"""Huffman codes of small integers, in streams that can be decoded without a loop over them.

D. A. Huffman, A method for the construction of minimum-redundancy codes (1952); canonical, with lengths of at most
`LONGEST` bits by package-merge (L. Larmore, D. Hirschberg, 1990), so that a table of all windows of that many bits
decodes. The symbols are cut into segments whose first bits are stored: a decoder finds the code words of all segments
together, and needs as many steps as a segment has symbols, or the logarithm of that where it doubles its jumps
(`dtc.passes.lower.codebook.huffman`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dtc.forms.base import Parts

LONGEST = 12
SEGMENT = 1024
MOST_ENTRIES = 1024
MOST_SYMBOLS = 1 << 21
"""Longest stream: a runtime that folds the decoding nodes at load needs about a hundred bytes a bit meanwhile."""

NODES = 2048
"""Bytes, in a file, of the nodes that decode a Huffman code; where these are its own, a code that saves fewer bytes is
not used."""

TOGETHER = 1 << 16
"""Symbols of a matrix up to which it may be decoded with others, by nodes that weigh little for each."""

SPARE = 3
"""Zero bytes behind the last bit of a stream: a window that begins at the last bit still reads three bytes."""

Numbers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class HuffmanCode:
    """A canonical Huffman code, and a stream of symbols in this code.

    Attributes:
        order: uint8 or uint16 `[used]`: the symbols that have a code word, by length, then by number.
        lengths: uint8 `[used]`: the length of each, 1 to `LONGEST`, ascending.
        starts: int32 `[segments]`: the first bit of each segment of `SEGMENT` symbols.
        stream: uint8 `[bytes]`: code words one after another, most significant bits first, and `SPARE` bytes.
    """

    order: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    lengths: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int32]
    stream: npt.NDArray[np.uint8]

    @classmethod
    def encode(cls, symbols: Numbers) -> HuffmanCode:
        """Code symbols `[count]` below `MOST_ENTRIES`, at least one."""
        # Symbols 3 0 0 0 0 1 1 2: counts 4 2 1 1, lengths 1 2 3 3, words 0, 10, 110, 111, stream 111 0 0 0 0 10 10 110.
        lengths = code_lengths(np.bincount(symbols))
        # By length, then by number; symbols that do not occur have length 0, stand first and are dropped.
        order = np.lexsort((np.arange(len(lengths)), lengths))[np.count_nonzero(lengths == 0) :]
        # A canonical word is its first window without the bits behind it: 110 of the window 110000000000.
        words = np.zeros(len(lengths), np.int64)
        words[order] = _first_windows(lengths[order]) >> (LONGEST - lengths[order].astype(np.int64))
        sizes = lengths[symbols].astype(np.int64)
        ends = np.cumsum(sizes)
        # A segment begins where the one before it ends; the end of the last symbol begins none.
        starts = np.concatenate([[0], ends[SEGMENT - 1 : -1 : SEGMENT]]).astype(np.int32)
        # [entries, LONGEST]: the bits of each word from its top, and which of these places are the word's own.
        last = lengths[:, None].astype(np.int64) - 1 - np.arange(LONGEST)
        word_bits, own = (words[:, None] >> np.maximum(last, 0) & 1).astype(np.uint8), last >= 0
        bits = word_bits[symbols][own[symbols]]
        stream = np.concatenate([np.packbits(bits), np.zeros(SPARE, np.uint8)])
        narrow = order.astype(np.uint8) if order.max() < 256 else order.astype(np.uint16)
        return cls(narrow, lengths[order], starts, stream)

    @property
    def nbytes(self) -> int:
        """Bytes of the four stored arrays."""
        return self.stream.nbytes + self.starts.nbytes + self.lengths.nbytes + self.order.nbytes

    def decode(self, count: int) -> npt.NDArray[np.uint16]:
        """Return the `count` symbols.

        Raises:
            ValueError: The code is none, or the stream does not hold that many symbols.
        """
        self._check(count)
        # rank [2^LONGEST]: which code word each window begins with. Words of lengths 1 2 3 3 begin at the windows
        # 0, 2048, 3072 and 3584, so window 2500 = 0b100111000100 begins with the second, 10.
        starts = _first_windows(self.lengths)
        rank = np.searchsorted(starts, np.arange(1 << LONGEST), side="right") - 1
        # Windows from `used` on begin with no word: only a lone symbol, of one bit, leaves any.
        used = int(starts[-1] + (1 << (LONGEST - int(self.lengths[-1]))))
        # found [segments, symbols a segment]: one step decodes a symbol of every segment.
        found = np.zeros((len(self.starts), min(SEGMENT, count)), dtype=np.uint16)
        position, wide = self.starts.astype(np.int64), self.stream.astype(np.int64)
        last = 8 * (len(self.stream) - SPARE)
        for index in range(found.shape[1]):
            # The window at bit `position` lies within three bytes: 12 bits behind at most 7 others of its first byte.
            # A position that a damaged file leads too far is held at the end, so that nothing is read behind it.
            byte = np.minimum(position, last) >> 3
            three = (wide[byte] << 16) | (wide[byte + 1] << 8) | wide[byte + 2]
            window = three >> (24 - LONGEST - (position & 7)) & ((1 << LONGEST) - 1)
            # The last segment may be shorter: whatever is read there beyond `count` is neither checked nor kept.
            own = index + SEGMENT * np.arange(len(position)) < count
            if (own & ((window >= used) | (position >= last))).any():
                raise ValueError("the stream ends early or holds bits that are no code word")
            ranks = rank[window]
            found[:, index] = self.order[ranks]
            position = position + self.lengths[ranks]
        return found.ravel()[:count]

    def _check(self, count: int) -> None:
        n = len(self.lengths)
        if n == 0 or self.order.shape != (n,) or len(np.unique(self.order)) != n:
            raise ValueError("a Huffman code needs each symbol once")
        if self.lengths.min() < 1 or self.lengths.max() > LONGEST or (np.diff(self.lengths.astype(int)) < 0).any():
            raise ValueError("lengths of code words are not ascending or not possible")
        # Kraft's inequality: a word of l bits takes 2^(LONGEST - l) of the 2^LONGEST windows.
        if (1 << LONGEST >> self.lengths.astype(int)).sum() > 1 << LONGEST:
            raise ValueError("the code words overlap")
        bits = 8 * (len(self.stream) - SPARE)
        if self.starts.shape != (-(-count // SEGMENT),) or self.starts.min() < 0 or self.starts.max() >= bits:
            raise ValueError(f"{count} symbols do not begin where the segments do")

    def pack(self) -> Parts:
        """Return `stream`, `starts`, `lengths` and `order`."""
        return {"stream": self.stream, "starts": self.starts, "lengths": self.lengths, "order": self.order}

    @classmethod
    def unpack(cls, parts: Parts) -> HuffmanCode:
        """Return the code that `pack` was called on.

        Raises:
            ValueError: A part is of another type.
            KeyError: A part is missing.
        """
        wanted = {"order": (np.uint8, np.uint16), "lengths": (np.uint8,), "starts": (np.int32,), "stream": (np.uint8,)}
        for name, dtypes in wanted.items():
            if parts[name].ndim != 1 or parts[name].dtype not in dtypes:
                raise ValueError(f"{name} of type {parts[name].dtype}, shape {parts[name].shape}")
        return cls(*(parts[name] for name in wanted))  # type: ignore[arg-type]


def coded_bytes(counts: Numbers) -> int | None:
    """Return the bytes of a code of symbols of these frequencies; None where there are too many for one."""
    total = int(counts.sum())
    if len(counts) > MOST_ENTRIES or not 0 < total <= MOST_SYMBOLS:
        return None
    lengths = code_lengths(counts)
    bits = int((counts * lengths.astype(np.int64)).sum())
    used = np.flatnonzero(counts)
    # Stream, spare bytes, an int32 a segment, and for each used symbol its number (1 or 2 bytes) and length (1).
    return -(-bits // 8) + SPARE + 4 * -(-total // SEGMENT) + (2 if used[-1] < 256 else 3) * len(used)


def entropy(counts: Numbers) -> float:
    """Return the bits that a symbol of these frequencies takes on average in the best code there could be."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def code_lengths(counts: Numbers) -> npt.NDArray[np.uint8]:
    """Return the lengths of the best code of at most `LONGEST` bits for symbols of these frequencies, uint8 `[n]`.

    0 for symbols that do not occur; a lone one takes a bit all the same.
    """
    lengths = np.zeros(len(counts), dtype=np.uint8)
    leaves = sorted((int(count), (symbol,)) for symbol, count in enumerate(counts) if count)
    if len(leaves) == 1:
        lengths[leaves[0][1][0]] = 1
        return lengths
    # Package-merge. Each round pairs the cheapest of leaves and former packages; a symbol's length is how many of the
    # n - 1 cheapest packages of the last round it is in. Counts 4 2 1 1: the first round pairs (1, 1) to 2 and
    # (2, 4) to 6; in the rounds after it the leaves compete with these packages, LONGEST rounds bound the lengths.
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(LONGEST):
        merged = sorted([*leaves, *packages])
        pairs = zip(merged[0::2], merged[1::2], strict=False)
        packages = [(a + b, first + second) for (a, first), (b, second) in pairs]
    for _, symbols in packages[: len(leaves) - 1]:
        np.add.at(lengths, list(symbols), 1)
    return lengths


def _first_windows(lengths: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the first window of `LONGEST` bits that begins with each code word, in the canonical order."""
    # A word of l bits begins 2^(LONGEST - l) windows. Lengths 1 2 3 3 -> sizes 2048 1024 512 512 -> 0 2048 3072 3584.
    sizes: npt.NDArray[np.int64] = 1 << (LONGEST - lengths.astype(np.int64))
    return np.cumsum(sizes) - sizes
