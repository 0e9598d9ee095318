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
"""A runtime that folds the nodes which decode a stream needs about a hundred bytes for each bit of it meanwhile."""

NODES = 2048
"""Bytes of the nodes that decode a code in a file; a code that saves fewer than that is none."""

SPARE = 3
"""Bytes behind the last bit: a window may begin there and reads three bytes."""

Numbers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class HuffmanCode:
    """A canonical code, and a stream of symbols in it.

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
        lengths = code_lengths(np.bincount(symbols))
        order = np.lexsort((np.arange(len(lengths)), lengths))[np.count_nonzero(lengths == 0) :]
        words = np.zeros(len(lengths), np.int64)
        words[order] = _first_windows(lengths[order]) >> (LONGEST - lengths[order].astype(np.int64))
        sizes = lengths[symbols].astype(np.int64)
        ends = np.cumsum(sizes)
        starts = np.concatenate([[0], ends[SEGMENT - 1 : -1 : SEGMENT]]).astype(np.int32)
        shifts = sizes[:, None] - 1 - np.arange(LONGEST)
        bits = (words[symbols][:, None] >> np.maximum(shifts, 0) & 1).astype(np.uint8)[shifts >= 0]
        stream = np.concatenate([np.packbits(bits), np.zeros(SPARE, np.uint8)])
        narrow = order.astype(np.uint8) if order.max() < 256 else order.astype(np.uint16)
        return cls(narrow, lengths[order], starts, stream)

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored."""
        return self.stream.nbytes + self.starts.nbytes + self.lengths.nbytes + self.order.nbytes

    def decode(self, count: int) -> npt.NDArray[np.uint16]:
        """Return the `count` symbols.

        Raises:
            ValueError: The code is none, or the stream does not hold that many symbols.
        """
        self._check(count)
        starts = _first_windows(self.lengths)
        rank = np.searchsorted(starts, np.arange(1 << LONGEST), side="right") - 1
        used = int(starts[-1] + (1 << (LONGEST - int(self.lengths[-1]))))
        found = np.zeros((len(self.starts), min(SEGMENT, count)), dtype=np.uint16)
        position, wide = self.starts.astype(np.int64), self.stream.astype(np.int64)
        last = 8 * (len(self.stream) - SPARE)
        for index in range(found.shape[1]):
            byte = np.minimum(position, last) >> 3
            three = (wide[byte] << 16) | (wide[byte + 1] << 8) | wide[byte + 2]
            window = three >> (24 - LONGEST - (position & 7)) & ((1 << LONGEST) - 1)
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
    return -(-bits // 8) + SPARE + 4 * -(-total // SEGMENT) + (2 if used[-1] < 256 else 3) * len(used)


def code_lengths(counts: Numbers) -> npt.NDArray[np.uint8]:
    """Return the lengths of the best code of at most `LONGEST` bits for symbols of these frequencies, uint8 `[n]`.

    0 for symbols that do not occur; a lone one takes a bit all the same.
    """
    lengths = np.zeros(len(counts), dtype=np.uint8)
    leaves = sorted((int(count), (symbol,)) for symbol, count in enumerate(counts) if count)
    if len(leaves) == 1:
        lengths[leaves[0][1][0]] = 1
        return lengths
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
    sizes: npt.NDArray[np.int64] = 1 << (LONGEST - lengths.astype(np.int64))
    return np.cumsum(sizes) - sizes
