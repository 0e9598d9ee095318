"""The binary-code form: planes of signs, each with a real coefficient a row or a group of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from dtc.forms.base import Array, Parts
from dtc.forms.even_levels import EvenLevels, evenly_spaced
from dtc.forms.halves import fits_float16

Packed = npt.NDArray[np.uint8]
Scales = npt.NDArray[np.floating]

_BLOCK = 1 << 16
"""Weights that are computed at once, so that they stay in a cache."""

_SIGNS = np.where(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), 1, -1).astype(
    np.float32
)
"""-1 or +1 for each bit of every byte, float32 `[256, 8]`."""


@dataclass(frozen=True, eq=False)
class BinaryCode:
    """`W = alphas[0] * B[0] + ... + alphas[k-1] * B[k-1] (+ offset)`, the B of -1 and +1; 0 where the mask is False.

    `dense()` adds the terms in that order, in float32, the offset last; of evenly spaced levels it is a whole number of
    steps times the scale.

    Attributes:
        codes: Signs, uint8 `[k, out, ceil(in / 8)]`: input `8 b + i` is bit `i` of byte `b`, bit 1 is +1, pad bits 0.
        alphas: float16 or float32 `[k, out, groups]`, largest first.
        cols: Width `in` of the matrix.
        group_size: Inputs a group, a multiple of 8; 0: one group a row.
        offset: Constant term `[out, groups]` in the dtype of `alphas`, or None.
        mask: Kept weights, packed as one plane of `codes`, or None: all of them.
    """

    kind: ClassVar[str] = "binary"

    codes: Packed
    alphas: Scales
    cols: int
    group_size: int = 0
    offset: Scales | None = None
    mask: Packed | None = None

    def __post_init__(self) -> None:
        if self.codes.dtype != np.uint8 or self.codes.ndim != 3 or not 1 <= self.codes.shape[0] <= 8:
            raise ValueError(f"codes are uint8 [1..8, out, bytes], not {self.codes.dtype} {self.codes.shape}")
        if self.alphas.dtype not in (np.float16, np.float32):
            raise ValueError(f"alphas are float16 or float32, not {self.alphas.dtype}")
        if self.cols < 1 or self.group_size < 0 or self.group_size % 8:
            raise ValueError(f"{self.cols} columns in groups of {self.group_size}: groups are multiples of 8")
        # Shapes by example, 2 planes of a matrix [3, 20] in groups of 8: codes [2, 3, 3], as 20 bits take 3 bytes;
        # alphas [2, 3, 3], as the third group has the last 4 columns; offset [3, 3]; mask [3, 3].
        bits, rows, _ = self.codes.shape
        expected = {
            "codes": (self.codes, (bits, rows, packed_bytes(self.cols))),
            "alphas": (self.alphas, (bits, rows, self.groups)),
            "offset": (self.offset, (rows, self.groups)),
            "mask": (self.mask, (rows, packed_bytes(self.cols))),
        }
        for name, (array, shape) in expected.items():
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} of shape {array.shape} for {self.cols} columns, not {shape}")
        # A decoder packs the bits of a weight, one of each plane and one of the mask, into one byte: 7 + 1 at most.
        if self.mask is not None and (bits > 7 or self.mask.dtype != np.uint8):
            raise ValueError(f"a mask is uint8 beside at most 7 planes, not {self.mask.dtype} beside {bits}")
        if self.offset is not None and self.offset.dtype != self.alphas.dtype:
            raise ValueError(f"the offset is {self.offset.dtype}, the alphas are {self.alphas.dtype}")

    @property
    def bits(self) -> int:
        """Number of planes."""
        return int(self.codes.shape[0])

    @property
    def groups(self) -> int:
        """Groups a row."""
        return -(-self.cols // self.group_size) if self.group_size else 1

    @property
    def shape(self) -> tuple[int, int]:
        """`(out, in)` of the matrix."""
        return int(self.codes.shape[1]), self.cols

    @property
    def nbytes(self) -> int:
        """Bytes of what a file holds: of evenly spaced levels the scale alone, which tells all coefficients."""
        if self.even is not None:
            return self.codes.nbytes + self.even.nbytes
        parts = [self.survivors if self.coded_survivors else self.codes, self.alphas, self.offset, self.mask]
        return sum(part.nbytes for part in parts if part is not None)

    @cached_property
    def even(self) -> EvenLevels | None:
        """The evenly spaced levels that the code is; None: of other levels, or masked."""
        return evenly_spaced(self.alphas, self.offset) if self.mask is None else None

    @property
    def levels(self) -> Packed:
        """The number of each weight's level where the largest coefficient comes first, uint8 `[out, in]`."""
        level: Packed = np.zeros(self.shape, dtype=np.uint8)
        for codes in self.codes:
            level = (level << np.uint8(1)) | unpack_bits(codes, self.cols).view(np.uint8)
        return level

    @property
    def detail(self) -> str:
        """Planes, groups, and how a mask is coded."""
        words = [f"{self.bits} bit" + ("s" if self.bits > 1 else "")]
        scales, named = (self.alphas, "alphas") if self.even is None else (self.even.scale, "scales")
        words.append(f"{8 * scales.itemsize}-bit {named} per " + (f"{self.group_size}" if self.group_size else "row"))
        if self.even is not None and self.even.zero is not None:
            words.append("zero points")
        if self.even is None and self.offset is not None:
            words.append("offset")
        if self.mask is not None:
            words.append("mask and codes of the survivors" if self.coded_survivors else "mask and dense planes")
        return ", ".join(words)

    @property
    def shared(self) -> dict[str, int]:
        """Nothing is shared."""
        return {}

    @property
    def coded_survivors(self) -> bool:
        """True if only the codes of kept weights are stored, that being smaller than whole planes."""
        return self.mask is not None and self.survivors.nbytes < self.codes.nbytes

    @cached_property
    def survivors(self) -> Packed:
        """Codes of the kept weights alone, row after row, packed: uint8 `[k, ceil(kept / 8)]`."""
        # One plane, signs 1 0 1 1 in columns 0 to 3, column 2 masked out: 1 0 1 are left, the byte 0b101.
        # [k, out, in] bool, indexed by the mask [out, in] -> [k, kept] -> uint8 [k, ceil(kept / 8)]
        kept = self.kept
        return np.packbits(unpack_bits(self.codes, self.cols)[:, kept], axis=-1, bitorder="little")

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Kept weights, bool `[out, in]`."""
        if self.mask is None:
            return np.ones(self.shape, dtype=np.bool_)
        return unpack_bits(self.mask, self.cols)

    def dense(self) -> Array:
        """Return the matrix, float32 `[out, in]`."""
        total = np.empty(self.shape, dtype=np.float32)
        step = max(1, _BLOCK // self.cols)
        for start in range(0, len(total), step):
            part, out = self.rows(start, start + step), total[start : start + step]
            if self.even is None:
                _sum(part, out)
            else:
                out[:] = self.even.rows(start, start + step).weights(part.levels, self.group_size)
        return total

    def spread(self, scales: Scales) -> Array:
        """Return scales `[out, groups]` as float32 that broadcast against `[out, in]`.

        Scales [a, b] of 12 columns in groups of 8 become 8 times a, then 4 times b: the last group may be short.
        """
        wide = scales.astype(np.float32)
        return wide if self.groups == 1 else np.repeat(wide, self.group_size, axis=1)[:, : self.cols]

    def rows(self, start: int, stop: int) -> Self:
        """Return the form of some rows: their part of every array."""
        part = slice(start, stop)
        return type(self)(
            self.codes[:, part],
            self.alphas[:, part],
            self.cols,
            self.group_size,
            None if self.offset is None else self.offset[part],
            None if self.mask is None else self.mask[part],
        )

    @classmethod
    def scaled(cls, forms: Sequence[Self], factors: Array) -> Sequence[Self]:
        """Return forms with every row multiplied by a factor: coefficients and offset take them, in float32.

        Evenly spaced levels stay such: rows with a negative factor have their codes complemented.
        """
        return [form.with_factors(row) for form, row in zip(forms, factors, strict=True)]

    def with_factors(self, factors: Array) -> Self:
        """Return the form with row i multiplied by `factors[i]`, in float32."""
        if self.even is not None:
            even, turned = self.even.scaled(factors)
            complement = self.codes ^ pack_bits(np.ones(self.cols, np.bool_))
            return self._of_levels(np.where(turned[:, None], complement, self.codes), even)
        offset = None if self.offset is None else self.offset.astype(np.float32) * factors[:, None]
        return replace(self, alphas=self.alphas.astype(np.float32) * factors[:, None], offset=offset)

    def halved(self) -> Self:
        """Return the form with float16 coefficients, where these hold them and make it smaller."""
        if self.even is not None:
            scale = self.even.scale
            if scale.dtype == np.float16 or not fits_float16(scale):
                return self
            return self._of_levels(self.codes, replace(self.even, scale=scale.astype(np.float16)))
        if self.alphas.dtype == np.float16:
            return self
        numbers = self.alphas if self.offset is None else np.concatenate([self.alphas, self.offset[None]])
        if not fits_float16(numbers.astype(np.float32)):
            return self
        offset = None if self.offset is None else self.offset.astype(np.float16)
        half = replace(self, alphas=self.alphas.astype(np.float16), offset=offset)
        return half if half.nbytes < self.nbytes else self

    def _of_levels(self, codes: Packed, even: EvenLevels) -> Self:
        """Return a form of the same groups with other codes and evenly spaced levels."""
        alphas, offset = even.coefficients()
        return replace(self, codes=codes, alphas=alphas, offset=offset)

    def pack(self) -> Parts:
        """Return the arrays to store, and `layout`: columns, group size, rows and planes, the node's attributes."""
        layout = np.array([self.cols, self.group_size, self.shape[0], self.bits], dtype=np.int64)
        if (even := self.even) is not None:
            zero: Parts = {} if even.zero is None else {"zero": even.zero}
            return {"layout": layout, "codes": self.codes, "scale": even.scale, **zero}
        parts: Parts = {"layout": layout, "alphas": self.alphas}
        parts |= {"survivors": self.survivors} if self.coded_survivors else {"codes": self.codes}
        parts |= {} if self.offset is None else {"offset": self.offset}
        return parts | ({} if self.mask is None else {"mask": self.mask})

    @classmethod
    def unpack(cls, parts: Parts) -> Self:
        """Return the form of the given parts.

        Raises:
            ValueError: Parts are missing, or their shapes and dtypes do not belong together.
        """
        given = set(parts)
        if "layout" not in given or not {"alphas", "scale"} & given or parts["layout"].shape != (4,):
            raise ValueError(f"a binary code has a layout of 4 numbers and alphas; given: {sorted(parts)}")
        cols, group_size, rows, bits = (int(number) for number in parts["layout"])
        if "scale" in given:
            return cls._unpack_even(parts, bits)
        mask: Any = np.asarray(parts["mask"]) if "mask" in parts else None
        if "codes" in parts:
            codes: npt.NDArray[Any] = np.asarray(parts["codes"])
        elif "survivors" in parts and mask is not None:
            codes = _fill_in(np.asarray(parts["survivors"]), mask, (bits, rows, cols))
        else:
            raise ValueError("a binary code has codes, or the codes of survivors and a mask")
        offset = parts.get("offset")
        return cls(
            codes,
            np.asarray(parts["alphas"]),
            cols,
            group_size,
            None if offset is None else np.asarray(offset),
            mask,
        )

    @classmethod
    def _unpack_even(cls, parts: Parts, bits: int) -> Self:
        """Return the form of evenly spaced levels, whose scales say all coefficients."""
        cols, group_size, rows, _ = (int(number) for number in parts["layout"])
        scale: npt.NDArray[Any] = np.asarray(parts["scale"])
        zero = parts.get("zero")
        shape = (rows, -(-cols // group_size) if group_size > 0 else 1)
        if "codes" not in parts or not 2 <= bits <= 8 or scale.dtype not in (np.float16, np.float32):
            raise ValueError("evenly spaced levels have codes of 2 to 8 planes, and float16 or float32 scales")
        for name, array in (("scale", scale), ("zero", zero)):
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} of shape {array.shape} for {cols} columns, not {shape}")
        levels = EvenLevels(bits, scale, None if zero is None else np.asarray(zero).astype(np.uint8))
        alphas, offset = levels.coefficients()
        return cls(np.asarray(parts["codes"]).astype(np.uint8), alphas, cols, group_size, offset)


def _sum(form: BinaryCode, total: Array) -> None:
    """Write the matrix of a form into an array of its shape."""
    # Codes 0b011 and 0b110 of 3 columns, alphas 2 and 0.5: [2, 2, -2] + [-0.5, 0.5, 0.5] = [1.5, 2.5, -1.5].
    for plane, (codes, alphas) in enumerate(zip(form.codes, form.alphas, strict=True)):
        signs = _SIGNS.take(codes, axis=0).reshape(len(codes), -1)[:, : form.cols]
        # The first term is written and not added to zeros: 0 + -0.0 would lose the sign of a zero.
        term = np.multiply(signs, form.spread(alphas), out=signs if plane else total)
        if plane:
            total += term
    if form.offset is not None:
        total += form.spread(form.offset)
    if form.mask is not None:
        np.copyto(total, 0, where=~form.kept)


def packed_bytes(cols: int) -> int:
    """Return the bytes of one packed row of `cols` bits."""
    return -(-cols // 8)


def pack_bits(bits: npt.NDArray[np.bool_]) -> Packed:
    """Pack bits `[..., cols]` into uint8 `[..., ceil(cols / 8)]`, LSB first, pad bits 0."""
    return np.packbits(bits, axis=-1, bitorder="little")


def unpack_bits(packed: Packed, cols: int) -> npt.NDArray[np.bool_]:
    """Return the first `cols` bits of each row of `packed`, bool `[..., cols]`: the inverse of `pack_bits`."""
    return np.unpackbits(packed, axis=-1, count=cols, bitorder="little").view(np.bool_)


def _fill_in(survivors: npt.NDArray[np.generic], mask: Packed, shape: tuple[int, int, int]) -> Packed:
    """Return whole planes `[k, out, ceil(in / 8)]` with the codes of the survivors at their places."""
    bits, rows, cols = shape
    if mask.shape != (rows, packed_bytes(cols)) or mask.dtype != np.uint8:
        raise ValueError(f"mask {mask.dtype} {mask.shape} for a matrix {rows}x{cols}")
    kept = unpack_bits(mask, cols)
    count = int(kept.sum())
    if survivors.dtype != np.uint8 or survivors.shape != (bits, packed_bytes(count)):
        raise ValueError(f"codes of survivors of shape {survivors.shape}, the mask keeps {count} in {bits} planes")
    # Mask 0b1011 keeps columns 0, 1 and 3; survivors 0b101 hold their signs 1, 0, 1 -> plane 0b1001.
    # A masked weight has the sign bit 0, whatever it was before.
    planes = np.zeros(shape, dtype=np.bool_)
    planes[:, kept] = unpack_bits(survivors.view(np.uint8), count)
    return pack_bits(planes)
