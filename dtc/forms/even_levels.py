"""Evenly spaced levels, `W = scale * (q - zero)`, found again in the coefficients of a binary code.

S. Park et al.: LUT-GEMM, ICLR 2024 (arXiv 2206.09557), section 3.1 writes such levels as sign planes: the coefficients
are the scale times halved powers of two, and the offset is the rest. A scale and a zero point say all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scales = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class EvenLevels:
    """What evenly spaced levels of `bits` bits are made of.

    Attributes:
        bits: Of a level `q`, which goes from 0 to `2^bits - 1`.
        scale: float16 where that holds it exactly, else float32 `[out, groups]`; not negative.
        zero: The level of 0, uint8 `[out, groups]`; None: the middle one, `2^(bits - 1)`, everywhere.
    """

    bits: int
    scale: Scales
    zero: npt.NDArray[np.uint8] | None

    @property
    def middle(self) -> int:
        """The level of 0 where all have the same."""
        return 1 << (self.bits - 1)

    @property
    def shift(self) -> npt.NDArray[np.int8] | None:
        """How far the level of 0 lies from the middle one, int8 `[out, groups]`; None: nowhere off it."""
        return None if self.zero is None else (self.zero.astype(np.int16) - self.middle).astype(np.int8)

    @property
    def nbytes(self) -> int:
        """Bytes of scales and zero points."""
        return self.scale.nbytes + (0 if self.zero is None else self.zero.nbytes)

    def rows(self, start: int, stop: int) -> EvenLevels:
        """Return the levels of some rows."""
        zero = None if self.zero is None else self.zero[start:stop]
        return EvenLevels(self.bits, self.scale[start:stop], zero)

    def weights(self, levels: npt.NDArray[np.uint8], group_size: int) -> npt.NDArray[np.float32]:
        """Return the weights, float32 `[out, in]`, of levels of that shape in groups of so many; 0: whole rows."""
        zero: npt.NDArray[np.float32] = np.full((1, 1), self.middle, np.float32)
        zero = zero if self.zero is None else _spread(self.zero.astype(np.float32), group_size, levels.shape[1])
        return (levels - zero) * _spread(self.scale.astype(np.float32), group_size, levels.shape[1])

    def scaled(self, factors: npt.NDArray[np.float32]) -> tuple[EvenLevels, npt.NDArray[np.bool_]]:
        """Return the levels of rows that are multiplied by `factors [out]`, and which rows have them in reverse.

        A scale is not negative: where the factor is, level q becomes the last one less q. 3 bits, zero point 4: steps
        -4 to 3 become -3 to 4, with the zero point 3.
        """
        turned = factors < 0
        zero = np.full(self.scale.shape, self.middle, np.uint8) if self.zero is None else self.zero
        zero = np.where(turned[:, None], np.uint8((1 << self.bits) - 1) - zero, zero)
        scale = self.scale.astype(np.float32) * np.abs(factors)[:, None]
        return EvenLevels(self.bits, scale, None if (zero == self.middle).all() else zero), turned

    @property
    def halves(self) -> npt.NDArray[np.float32]:
        """How many scales each coefficient is, the largest first: 2, 1 and 0.5 of 3 bits; float32 `[bits]`."""
        return np.ldexp(np.float32(0.5), np.arange(self.bits - 1, -1, -1)).astype(np.float32)

    def coefficients(self) -> tuple[Scales, Scales]:
        """Return coefficients `[bits, out, groups]` and offset `[out, groups]`, float16 where that is exact."""
        scale = self.scale.astype(np.float32)
        zero = np.float32(self.middle) if self.zero is None else self.zero.astype(np.float32)
        alphas, offset = self.halves[:, None, None] * scale, scale * (np.float32((2**self.bits - 1) / 2) - zero)
        return (_short(alphas), _short(offset)) if _is_short(alphas) and _is_short(offset) else (alphas, offset)


def evenly_spaced(alphas: Scales, offset: Scales | None) -> EvenLevels | None:
    """Return the levels that coefficients `[bits, out, groups]` and an offset `[out, groups]` make; None if not even.

    The coefficients of these levels have to be the given ones to the last bit.
    """
    bits = len(alphas)
    if offset is None or bits < 2:
        return None
    scale = np.asarray(2 * alphas[-1].astype(np.float32))
    if not np.isfinite(scale).all() or (scale < 0).any():
        return None
    halved = np.ldexp(alphas[-1].astype(np.float32)[None], np.arange(bits - 1, -1, -1)[:, None, None])
    # 3 bits, zero point 4: the offset is scale * (3.5 - 4). A scale of 0 has any zero point: the middle one.
    half, middle = np.float32((2**bits - 1) / 2), np.float32(1 << (bits - 1))
    steps = np.divide(offset.astype(np.float32), scale, out=np.full_like(scale, half - middle), where=scale > 0)
    zero = np.rint(half - steps)
    fits = (zero >= 0) & (zero < 2**bits)
    same = (halved == alphas.astype(np.float32)).all() and (scale * (half - zero) == offset.astype(np.float32)).all()
    if not (fits.all() and same):
        return None
    kept = _short(scale) if _is_short(scale) else scale
    return EvenLevels(bits, kept, None if (zero == middle).all() else zero.astype(np.uint8))


def _spread(numbers: npt.NDArray[np.float32], group_size: int, cols: int) -> npt.NDArray[np.float32]:
    """Return numbers `[out, groups]` such that they broadcast against `[out, cols]`; the last group may be short."""
    return numbers if numbers.shape[1] == 1 else np.repeat(numbers, group_size, axis=1)[:, :cols]


def _short(numbers: Scales) -> Scales:
    with np.errstate(over="ignore"):
        return numbers.astype(np.float16)


def _is_short(numbers: Scales) -> bool:
    """Return whether float16 holds the numbers exactly."""
    return bool((_short(numbers).astype(np.float32) == numbers).all())
