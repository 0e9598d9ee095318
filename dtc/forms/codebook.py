"""The codebook form: every block of weights is one of a few codewords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from dtc.forms.base import Array, Parts
from dtc.forms.codewords import Codewords
from dtc.forms.huffman import NODES, TOGETHER, HuffmanCode, coded_bytes
from dtc.forms.index_fields import (
    MAX_BITS,
    Indices,
    bits_for,
    count_indices,
    field_widths,
    pack_indices,
    row_bytes,
    unpack_indices,
)

_ALIGNED_WITHIN = 1 / 32
"""Rows begin at whole bytes where that costs no more than this share of the indices."""

_LAYOUT = ("rows", "columns", "index_bits", "aligned", "count", "block", "codeword_bits", "zero")


@dataclass(frozen=True)
class IndexLayout:
    """The packing of indices of `bits` bits: each row by itself if `aligned`, else all rows as one."""

    bits: int
    aligned: bool

    @classmethod
    def smallest(cls, largest: int, rows: int, count: int) -> Self:
        """Return the layout of fewest bytes for `[rows, count]` indices up to `largest`.

        A row that can be addressed is worth a little, and so is a width of fewer fields.
        """
        # A wider index can be the smaller: every field of a row is padded to a whole byte by itself. 10 indices up to
        # 6, a row each, take 3 bits = fields of 2 and 1, flat ceil(20 / 8) + ceil(10 / 8) = 5 bytes; 4 bits = one
        # field, flat 5 bytes too, and half the look-ups. So 4 bits are chosen. Aligned rows would take 20 or 10 bytes.
        candidates = []
        for bits in range(bits_for(largest + 1), MAX_BITS + 1):
            flat, aligned = row_bytes(bits, rows * count), rows * row_bytes(bits, count)
            fits = aligned <= flat * (1 + _ALIGNED_WITHIN)
            candidates.append((aligned if fits else flat, len(field_widths(bits)), bits, fits))
        smallest = min(size for size, *_ in candidates)
        within = [c for c in candidates if c[0] <= smallest * (1 + _ALIGNED_WITHIN)]
        # Among those near the smallest: first aligned rows, then fewer bytes, then fewer fields.
        _, _, bits, fits = min(within, key=lambda c: (not c[3], c[0], c[1]))
        return cls(bits, fits)


@dataclass(frozen=True, eq=False)
class Codebook:
    """A matrix whose rows are cut into blocks along the input, each block replaced by a codeword's number.

    Attributes:
        indices: uint16 `[out, blocks]`; a row has `ceil(in / block)` blocks, of the last one only the first weights
            count. Where `zero` is set, index 0 is the zero block and index i codeword i - 1.
        codewords: The table.
        columns: `in` of the matrix.
        gain: Factor of all codewords for this matrix; a shared codebook is normalised by it.
        zero: Index 0 is a block of exact zeros, that is not stored.
        mask: Boolean `[out, in]`, False where the weight is exactly zero; None: no weight is. Of scalars only the
            survivors' indices are stored, of blocks all.
        name: Of a codebook that several matrices share; the graph then holds it once.
        huffman: The indices are stored Huffman coded, not with a fixed width.
        note: How the codewords were found, for `detail`; not stored.
    """

    kind: ClassVar[str] = "codebook"

    indices: Indices
    codewords: Codewords
    columns: int
    gain: np.float32 | None = None
    zero: bool = False
    mask: npt.NDArray[np.bool_] | None = None
    name: str | None = None
    note: str = ""
    huffman: bool = False

    def __post_init__(self) -> None:
        # 10 columns in blocks of 4: 3 blocks a row, of whose last one only 2 weights count.
        blocks = -(-self.columns // self.codewords.block)
        if self.indices.ndim != 2 or self.indices.shape[1] != blocks or 0 in self.indices.shape:
            raise ValueError(
                f"indices of shape {self.indices.shape}; {self.columns} columns have {blocks} blocks a row"
            )
        entries = self.codewords.count + self.zero
        if self.indices.dtype != np.uint16 or int(self.indices.max()) >= entries:
            raise ValueError(f"index {self.indices.max()} is out of range: the codebook has {entries} entries")
        if self.mask is not None and self.mask.shape != self.shape:
            raise ValueError(f"a mask of shape {self.mask.shape} for a matrix of shape {self.shape}")
        if self.gain is not None and not np.isfinite(self.gain):
            raise ValueError("the gain of a codebook is not finite")
        if self.huffman and self.huffman_bytes is None:
            raise ValueError(f"{self.stored_indices.size} indices of {entries} entries are too many for a Huffman code")

    @property
    def shape(self) -> tuple[int, int]:
        """`(out, in)` of the matrix."""
        return int(self.indices.shape[0]), self.columns

    @property
    def block(self) -> int:
        """Weights a codeword."""
        return self.codewords.block

    @cached_property
    def table(self) -> Array:
        """The block that each index stands for, float32 `[entries, block]`, the gain included."""
        values = self.codewords.values
        if self.gain is not None:
            values = values * self.gain
        return np.concatenate([np.zeros((1, self.block), np.float32), values]) if self.zero else values

    @cached_property
    def stored_indices(self) -> Indices:
        """The indices as they are stored: `[out, blocks]`, or `[1, survivors]` where a matrix of scalars is masked."""
        if self.mask is not None and self.block == 1:
            # Indices [[3, 7], [5, 2]] under the mask [[1, 0], [1, 1]] -> [[3, 5, 2]]. Where nothing survives, one index
            # is stored all the same: empty tensors are a corner that runtimes treat differently.
            survivors = self.indices[self.mask]
            return survivors.reshape(1, -1) if survivors.size else np.zeros((1, 1), np.uint16)
        return self.indices

    @cached_property
    def layout(self) -> IndexLayout:
        """The packing of the stored indices."""
        rows, count = self.stored_indices.shape
        return IndexLayout.smallest(self.codewords.count - 1 + self.zero, rows, count)

    @property
    def index_bytes(self) -> int:
        """Bytes of the stored indices."""
        if self.huffman and self.huffman_bytes is not None:
            return self.huffman_bytes
        rows, count = self.stored_indices.shape
        return rows * row_bytes(self.layout.bits, count) if self.layout.aligned else self._flat_bytes

    @property
    def _flat_bytes(self) -> int:
        return row_bytes(self.layout.bits, self.stored_indices.size)

    @property
    def nbytes(self) -> int:
        """Bytes of indices, codewords, gain, mask and layout."""
        mask = 0 if self.mask is None else len(self.mask) * -(-self.columns // 8)
        gain = 0 if self.gain is None else 4
        return self.index_bytes + self.codewords.nbytes + gain + mask + 4 * len(_LAYOUT)

    @cached_property
    def huffman_bytes(self) -> int | None:
        """Bytes of the Huffman coded indices; None where a Huffman code would have too many symbols."""
        return coded_bytes(count_indices(self.stored_indices, self.codewords.count + self.zero))

    @cached_property
    def huffman_code(self) -> HuffmanCode:
        """The indices, Huffman coded."""
        return HuffmanCode.encode(self.stored_indices.ravel())

    @property
    def saved_by_huffman(self) -> int:
        """Bytes that Huffman coded indices take less than those of a fixed width; not above 0: none."""
        return 0 if self.huffman_bytes is None else replace(self, huffman=False).index_bytes - self.huffman_bytes

    def smaller_coded(self) -> Self:
        """Return the form Huffman coded if that takes fewer bytes, the decoding nodes included; else at fixed width.

        The nodes cost more bytes than a small matrix saves; but small ones are decoded together, where a graph allows.
        """
        nodes = NODES if self.indices.size > TOGETHER else 0
        return replace(self, huffman=self.saved_by_huffman > nodes)

    @property
    def detail(self) -> str:
        """Size and precision of the codebook, width of the indices, and whether Huffman coding is the smaller."""
        words = f"{self.codewords.count} codewords of {self.block} x {self.codewords.bits} bits"
        words += " and zero" if self.zero else ""
        fixed = replace(self, huffman=False).index_bytes
        width = f"indices of {self.layout.bits} bits: {fixed} bytes"
        shorter = self.huffman_bytes is not None and self.huffman_bytes < fixed
        if self.huffman:
            words += f", indices Huffman coded: {self.index_bytes} bytes ({width})"
        else:
            words += f", {width} ({f'Huffman: {self.huffman_bytes}' if shorter else 'fixed width is the smaller'})"
        words += ", mask" if self.mask is not None else ""
        return words + (f", shared: {self.name}" if self.name else "") + (f", {self.note}" if self.note else "")

    @property
    def shared(self) -> dict[str, int]:
        """Bytes of a shared codebook, by its name."""
        return {} if self.name is None else {self.name: self.codewords.nbytes}

    def dense(self) -> Array:
        """Return the matrix, float32 `[out, in]`; the decoding nodes and kernels give the same bits."""
        # table [entries, block], indices [out, blocks] -> [out, blocks, block] -> [out, blocks * block] -> [out, in]
        matrix = self.table[self.indices].reshape(len(self.indices), -1)[:, : self.columns]
        return np.ascontiguousarray(matrix if self.mask is None else np.where(self.mask, matrix, np.float32(0)))

    def rows(self, start: int, stop: int) -> Self:
        """Return the form of some rows, of the same codewords."""
        part = slice(start, stop)
        return replace(self, indices=self.indices[part], mask=None if self.mask is None else self.mask[part])

    @classmethod
    def scaled(cls, forms: Sequence[Self], factors: Array) -> Sequence[Self] | None:
        """Return forms with every row multiplied by a factor: the gain takes one that all rows of a site have.

        A site of several matrices, such as a convolution in groups, has one table, and so one gain.
        """
        factor = factors.flat[0]
        if (factors != factor).any():
            return None
        return [replace(form, gain=np.float32(factor * (1 if form.gain is None else form.gain))) for form in forms]

    def pack(self) -> Parts:
        """Return `indices`, the parts of the codewords, `layout`, and `gain`, `mask`, `name` where there are any.

        Huffman coded indices are the parts of `HuffmanCode` instead, their width in the layout 0. `mask` is uint8
        `[out, ceil(in / 8)]`, bit 1 a survivor, least significant bit first.
        """
        if self.huffman:
            # 1. Huffman coded. A width of 0 in the layout is what `unpack` knows such indices by.
            layout, indices = IndexLayout(0, aligned=False), self.huffman_code.pack()
        else:
            layout = self.layout
            # 2. Fixed width: uint8 [out, bytes of a row] aligned, [1, bytes] otherwise.
            flat = self.stored_indices if layout.aligned else self.stored_indices.reshape(1, -1)
            indices = {"indices": pack_indices(flat, layout.bits)}
        numbers = (*self.shape, layout.bits, layout.aligned, *self.codewords.stored.shape)
        parts: Parts = {**indices, **self.codewords.pack()}
        parts["layout"] = np.array([*numbers, self.codewords.bits, self.zero], dtype=np.int32)
        if self.gain is not None:
            parts["gain"] = np.array([self.gain], dtype=np.float32)
        if self.mask is not None:
            parts["mask"] = np.packbits(self.mask, axis=1, bitorder="little")
        if self.name is not None:
            parts["name"] = np.frombuffer(self.name.encode(), dtype=np.uint8)
        return parts

    @classmethod
    def unpack(cls, parts: Parts) -> Self:
        """Return the form that `pack` was called on.

        Raises:
            ValueError: A part is missing, or the parts do not fit together.
        """
        try:
            return cls._unpack(parts)
        except KeyError as error:
            raise ValueError(f"packed codebook: the part {error} is missing; the file is damaged") from error
        except (ValueError, IndexError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(f"packed codebook: {error}; the file is damaged") from error

    @classmethod
    def _unpack(cls, parts: Parts) -> Self:
        if parts["layout"].shape != (len(_LAYOUT),) or parts["layout"].dtype != np.int32:
            raise ValueError(f"a layout of shape {parts['layout'].shape}")
        # All numbers come from a file: none is used as a size before it is checked.
        rows, columns, bits, aligned, count, block, codeword_bits, zero = (int(n) for n in parts["layout"])
        if min(rows, columns, count, block) < 1 or count + zero > 2**MAX_BITS or {aligned, zero} - {0, 1}:
            raise ValueError(f"the layout {parts['layout'].tolist()} makes no sense")
        codewords = Codewords.unpack(parts, count, block, codeword_bits)
        mask = _unpack_mask(parts["mask"], rows, columns) if "mask" in parts else None
        blocks = -(-columns // block)
        survivors = mask is not None and block == 1
        # Masked scalars are one row of survivors' indices, never empty (see `stored_indices`); all else is a matrix.
        stored = (1, max(1, int(mask.sum()))) if mask is not None and survivors else (rows, blocks)
        if bits == 0:
            indices = HuffmanCode.unpack(parts).decode(stored[0] * stored[1]).reshape(stored)
        else:
            packed = parts["indices"]
            if packed.dtype != np.uint8 or len(packed) != (stored[0] if aligned else 1):
                raise ValueError(f"indices of shape {packed.shape} and type {packed.dtype}")
            # Packed rows: [out, bytes] of `blocks` indices each, or [1, bytes] of `out * blocks` indices.
            width = stored[1] if aligned else stored[0] * stored[1]
            indices = unpack_indices(packed.astype(np.uint8), bits, width).reshape(stored)
        if mask is not None and survivors:
            indices = _scatter(indices, mask)
        gain = np.float32(parts["gain"].reshape(())) if "gain" in parts else None
        name = parts["name"].astype(np.uint8).tobytes().decode() if "name" in parts else None
        return cls(indices, codewords, columns, gain, bool(zero), mask, name, huffman=bits == 0)


def _unpack_mask(packed: npt.NDArray[np.generic], rows: int, columns: int) -> npt.NDArray[np.bool_]:
    if packed.shape != (rows, -(-columns // 8)) or packed.dtype != np.uint8:
        raise ValueError(f"a mask of shape {packed.shape} for {rows}x{columns}")
    return np.unpackbits(packed.astype(np.uint8), axis=1, count=columns, bitorder="little").astype(bool)


def _scatter(survivors: Indices, mask: npt.NDArray[np.bool_]) -> Indices:
    # [[3, 5, 2]] under the mask [[1, 0], [1, 1]] -> [[3, 0], [5, 2]]; the index of a masked weight does not matter.
    indices = np.zeros(mask.shape, dtype=np.uint16)
    indices[mask] = survivors.ravel()[: int(mask.sum())]
    return indices
