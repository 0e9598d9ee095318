"""The table of a codebook: scalars or blocks, in full or reduced precision."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dtc.forms.base import Array, Parts
from dtc.forms.index_fields import pack_indices, row_bytes, unpack_indices

PRECISIONS = (2, 3, 4, 5, 6, 7, 8, 16, 32)


@dataclass(frozen=True)
class Grid:
    """A uniform grid: level `q` of `bits` bits stands for `q * step + low`, both operations rounded to float32."""

    bits: int
    step: np.float32
    low: np.float32

    @classmethod
    def spanning(cls, low: float, high: float, bits: int) -> Self:
        """Return the grid whose first and last level are `low` and `high`."""
        return cls(bits, np.float32((high - low) / (2**bits - 1)), np.float32(low))

    def levels(self, values: Array) -> npt.NDArray[np.uint8]:
        """Return the nearest level of each value."""
        # A grid of equal ends has the step 0: every value is at level 0 then, whatever it is divided by.
        step = float(self.step) or 1.0
        nearest = np.rint((values.astype(np.float64) - float(self.low)) / step)
        return np.clip(nearest, 0, 2**self.bits - 1).astype(np.uint8)

    def values(self, levels: npt.NDArray[np.uint8]) -> Array:
        """Return the numbers, float32, that levels stand for."""
        return levels.astype(np.float32) * self.step + self.low


@dataclass(frozen=True, eq=False)
class Codewords:
    """`count` codewords of `block` weights each.

    Attributes:
        stored: `[count, block]`: float32, float16, or uint8 levels of `grid`.
        grid: What the levels stand for; None where the codewords are floats.
    """

    stored: npt.NDArray[Any]
    grid: Grid | None = None

    def __post_init__(self) -> None:
        kinds = (np.uint8,) if self.grid else (np.float32, np.float16)
        if self.stored.ndim != 2 or 0 in self.stored.shape or self.stored.dtype not in kinds:
            raise ValueError(f"codewords of shape {self.stored.shape} and type {self.stored.dtype}")
        if self.grid and int(self.stored.max()) >= 2**self.grid.bits:
            raise ValueError(f"a codeword has level {int(self.stored.max())} of a grid of {self.grid.bits} bits")
        if not np.isfinite(self.values).all():
            raise ValueError("a codeword is not finite")

    @classmethod
    def encode(cls, values: Array, bits: int, grid: Grid | None = None) -> Self:
        """Store float32 `[count, block]` in 32, 16, or 2..8 bits (levels of `grid`, or of one from min to max)."""
        if bits == 32:
            return cls(np.ascontiguousarray(values, dtype=np.float32))
        if bits == 16:
            # A codeword beyond 65504 is cut to it: rounded, it would be infinite.
            limit = float(np.finfo(np.float16).max)
            return cls(np.clip(values, -limit, limit).astype(np.float16))
        # From -1 to 2 in 2 bits: step 1, levels 0 to 3 stand for -1, 0, 1, 2.
        grid = grid or Grid.spanning(float(values.min()), float(values.max()), bits)
        return cls(grid.levels(values), grid)

    @property
    def count(self) -> int:
        """How many codewords there are."""
        return int(self.stored.shape[0])

    @property
    def block(self) -> int:
        """Weights a codeword."""
        return int(self.stored.shape[1])

    @property
    def bits(self) -> int:
        """Bits of a stored number."""
        return self.grid.bits if self.grid else self.stored.dtype.itemsize * 8

    @property
    def nbytes(self) -> int:
        """Bytes of the stored numbers, and of the two of the grid."""
        return row_bytes(self.bits, self.stored.size) + 8 if self.grid else int(self.stored.nbytes)

    @cached_property
    def values(self) -> Array:
        """The codewords as float32 `[count, block]`."""
        return self.grid.values(self.stored) if self.grid else self.stored.astype(np.float32)

    def pack(self) -> Parts:
        """Return `codewords`, floats `[count, block]` or packed levels `[1, bytes]`, and the `grid` `[step, low]`."""
        if self.grid is None:
            return {"codewords": self.stored}
        packed = pack_indices(self.stored.reshape(1, -1), self.grid.bits)
        return {"codewords": packed, "grid": np.array([self.grid.step, self.grid.low], dtype=np.float32)}

    @classmethod
    def unpack(cls, parts: Parts, count: int, block: int, bits: int) -> Self:
        """Return the codewords that `pack` was called on.

        Raises:
            ValueError: The parts do not fit `count` codewords of `block` numbers of `bits` bits.
        """
        stored = parts["codewords"]
        if bits not in PRECISIONS:
            raise ValueError(f"codewords of {bits} bits")
        # 1. Levels of a grid: uint8 [1, packed bytes] -> [1, count * block] -> [count, block].
        if bits < 16:
            if stored.dtype != np.uint8 or parts["grid"].shape != (2,):
                raise ValueError(f"levels of type {stored.dtype} on a grid of shape {parts['grid'].shape}")
            step, low = (np.float32(value) for value in parts["grid"])
            levels = unpack_indices(stored.astype(np.uint8), bits, count * block)
            return cls(levels.astype(np.uint8).reshape(count, block), Grid(bits, step, low))
        # 2. Floats of 16 or 32 bits, as they are; the constructor refuses an integer of that width.
        if stored.shape != (count, block) or stored.dtype.itemsize * 8 != bits:
            raise ValueError(f"codewords of shape {stored.shape} and type {stored.dtype} instead of {(count, block)}")
        return cls(stored)
