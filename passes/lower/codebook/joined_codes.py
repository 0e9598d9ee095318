"""Several Huffman codes in one stream, so that nodes decode all of it at once.

Sites whose indices take about as many bits share a code: with indices numbered from the most frequent on, they are
distributed alike. The parts of the stream that have a code each lie one behind the other. Canonical code words fill the
windows of `longest` bits without a gap, so that those of the second code go on where those of the first end: an offset
of the window, from the bit on where a part begins, is all that decoding needs besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dtc.forms.huffman import SEGMENT, SPARE, HuffmanCode

Numbers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class JoinedCodes:
    """Codes, and a stream of symbols.

    Attributes:
        order: uint8 or uint16 `[words]`: the symbols of the code words, code by code.
        lengths: uint8 `[words]`: the length of each, ascending within a code.
        starts: int32 `[segments]`: the first bit of each segment of `SEGMENT` symbols.
        stream: uint8 `[bytes]`: code words one after another, most significant bits first, and `SPARE` bytes.
        begins: The first bits of all parts but the first one.
    """

    order: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    lengths: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int32]
    stream: npt.NDArray[np.uint8]
    begins: tuple[int, ...]

    @classmethod
    def encode(cls, parts: Sequence[Numbers]) -> JoinedCodes:
        """Code symbols `[count]` of each part, at least one, by a code of its own."""
        codes = [HuffmanCode.encode(part) for part in parts]
        sizes = [_sizes(code, part) for code, part in zip(codes, parts, strict=True)]
        ends = np.cumsum(np.concatenate(sizes))
        bits = [np.unpackbits(code.stream, count=int(each.sum())) for code, each in zip(codes, sizes, strict=True)]
        # A lone symbol's word of one bit fills half of the windows; twice, it leaves no gap.
        words = [(code.order, code.lengths) if len(code.order) > 1 else _twice(code) for code in codes]
        order = np.concatenate([each for each, _ in words])
        return cls(
            order.astype(np.uint8) if order.max() < 256 else order.astype(np.uint16),
            np.concatenate([each for _, each in words]),
            np.concatenate([[0], ends[SEGMENT - 1 : -1 : SEGMENT]]).astype(np.int32),
            np.concatenate([np.packbits(np.concatenate(bits)), np.zeros(SPARE, np.uint8)]),
            tuple(np.cumsum([int(each.sum()) for each in sizes])[:-1].tolist()),
        )

    @property
    def count(self) -> int:
        """How many codes there are."""
        return len(self.begins) + 1

    @property
    def nbytes(self) -> int:
        """Bytes of the stored arrays."""
        return self.stream.nbytes + self.starts.nbytes + self.lengths.nbytes + self.order.nbytes


def _sizes(code: HuffmanCode, symbols: Numbers) -> npt.NDArray[np.int64]:
    lengths = np.zeros(int(symbols.max()) + 1, np.int64)
    lengths[code.order] = code.lengths
    return np.asarray(lengths[symbols])


def _twice(code: HuffmanCode) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    return np.repeat(code.order, 2), np.repeat(code.lengths, 2)
