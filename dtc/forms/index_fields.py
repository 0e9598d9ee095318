"""Small integers packed into bytes, in fields whose widths divide a byte.

An index of `bits` bits is cut, low bits first, into fields of 8, 4, 2 and 1 bits, the fewest that make up the width:
6 = 4 + 2, 7 = 4 + 2 + 1, 12 = 8 + 4. The fields of a row lie one after another; a field is packed least significant
bits first and padded with zeros to a whole byte. So every byte decodes by one look-up in a table of 256 entries,
whatever the width; a plain bit stream of odd widths would straddle bytes. Widths 1, 2, 4 and 8 are the plain stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Packed = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.uint16]

MAX_BITS = 16

_BLOCK = 1 << 18
"""Indices counted at once."""


def bits_for(count: int) -> int:
    """Return the smallest width, 1..16, that holds `count - 1`."""
    return max(1, (count - 1).bit_length())


def count_indices(indices: Indices, entries: int) -> npt.NDArray[np.intp]:
    """Return how often each of `entries` numbers occurs, int64 `[entries]`."""
    counts = np.zeros(entries, np.intp)
    flat = indices.reshape(-1)
    for start in range(0, flat.size, _BLOCK):  # `bincount` makes 64 bits of each number that it counts
        counts += np.bincount(flat[start : start + _BLOCK], minlength=entries)
    return counts


def field_widths(bits: int) -> list[int]:
    """Return the widths of the fields of an index, low bits first.

    Raises:
        ValueError: `bits` is not 1..16.
    """
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(f"an index of {bits} bits; 1 to {MAX_BITS} are possible")
    widths = [8] * (bits // 8)
    return widths + [width for width in (4, 2, 1) if bits % 8 & width]


def row_bytes(bits: int, count: int) -> int:
    """Return the bytes of a row of `count` indices."""
    return sum(-(-count * width // 8) for width in field_widths(bits))


def pack_indices(indices: npt.NDArray[np.integer[Any]], bits: int) -> Packed:
    """Pack `[rows, count]` of values below `2**bits` into uint8 `[rows, row_bytes(bits, count)]`."""
    # Indices 5 2 7 of 3 bits are fields of 2 and 1 bits. Low two bits 1 2 3 -> 0b11_10_01 = 57; high bits 1 0 1 ->
    # 0b101 = 5. The row is the bytes [57, 5].
    fields, shift = [], 0
    for width in field_widths(bits):
        field = ((indices >> shift) & (2**width - 1)).astype(np.uint8)
        per_byte = 8 // width
        # [rows, count] -> [rows, bytes, fields a byte], each field shifted to its place -> or -> [rows, bytes]
        padded = np.pad(field, ((0, 0), (0, -field.shape[1] % per_byte)))
        lanes = padded.reshape(len(field), -1, per_byte) << (np.arange(per_byte, dtype=np.uint8) * np.uint8(width))
        fields.append(np.bitwise_or.reduce(lanes, axis=2).astype(np.uint8))
        shift += width
    return np.ascontiguousarray(np.concatenate(fields, axis=1))


def unpack_indices(packed: Packed, bits: int, count: int) -> Indices:
    """Return the uint16 `[rows, count]` that `pack_indices` was given.

    Raises:
        ValueError: The rows have another length than `count` indices of `bits` bits have.
    """
    if packed.ndim != 2 or packed.shape[1] != row_bytes(bits, count):
        raise ValueError(f"indices of shape {packed.shape}; {count} of {bits} bits a row take {row_bytes(bits, count)}")
    result = np.zeros((len(packed), count), dtype=np.uint16)
    start, shift = 0, 0
    for width in field_widths(bits):
        # The inverse, field by field: [rows, bytes] -> [rows, bytes, fields a byte] -> [rows, count], padding cut off.
        stop = start + -(-count * width // 8)
        lanes = packed[:, start:stop, None] >> (np.arange(8 // width, dtype=np.uint8) * np.uint8(width))
        field = (lanes & np.uint8(2**width - 1)).reshape(len(packed), -1)[:, :count]
        result |= field.astype(np.uint16) << np.uint16(shift)
        start, shift = stop, shift + width
    return result
