"""A weight as constant data, and the kernel that computes with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

AnyArray: TypeAlias = npt.NDArray[np.generic]

_STRIP = 4
"""DTC_ROWS of the kernels, which write one row more behind a strip."""

Matrix: TypeAlias = npt.NDArray[np.float32]
"""float32 `[rows, cols]`, `[out, in]`."""


@dataclass(frozen=True)
class Several:
    """What the products of several vectors take, `dtc_<form>_products`.

    Attributes:
        scratch: Floats besides the vectors.
        multiply_adds: How many products of two numbers they add up for each vector.
        least: Of fewer vectors each is better multiplied by itself.
    """

    scratch: int
    multiply_adds: int
    least: int = 4

    @classmethod
    def decoded(cls, matrix: Matrix, rows: int = _STRIP + 1, least: int = 8) -> Several:
        """Return what those of a matrix take whose rows are decoded; scratch is of so many rows."""
        return cls(rows * matrix.shape[1], matrix.size, least)


@dataclass(frozen=True, eq=False)
class StoredWeight:
    """A weight `[rows, cols]` in a form of the kernels.

    Attributes:
        form: Its word in the names of the kernels, `dtc_<form>_product`, and of the type, `dtc_<form>`.
        rows: Of the matrix.
        cols: Of the matrix.
        arrays: Constant arrays by member of the type; None is NULL.
        numbers: Other members of the type.
        parts: Weights that it is made of, by member.
        scratch: Floats that the product takes.
        multiply_adds: How many products of two numbers a product adds up; a look-up is counted as one addition of a
            number for as many weights as it stands for.
        several: What the products of several vectors take; None where there is no kernel for them.
    """

    form: str
    rows: int
    cols: int
    arrays: Mapping[str, AnyArray | None]
    numbers: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[str, StoredWeight] = field(default_factory=dict)
    scratch: int = 0
    multiply_adds: int = 0
    several: Several | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of its constant arrays."""
        own = sum(array.nbytes for array in self.arrays.values() if array is not None)
        return own + sum(part.nbytes for part in self.parts.values())


def packed(indices: npt.NDArray[np.integer], bits: int) -> npt.NDArray[np.uint8]:
    """Return rows of indices, `[rows, count]`, as fields of 1, 2, 4, 8 or 16 bits, least significant first."""
    if bits == 16:
        return np.ascontiguousarray(indices.astype("<u2")).view(np.uint8)
    per_byte = 8 // bits
    rows, count = indices.shape
    padded = np.zeros((rows, math.ceil(count / per_byte) * per_byte), np.uint8)
    padded[:, :count] = indices
    fields = padded.reshape(rows, -1, per_byte) << (bits * np.arange(per_byte, dtype=np.uint8))
    return np.asarray(np.bitwise_or.reduce(fields, axis=2), np.uint8)


def index_bits(count: int) -> int:
    """Return the bits of an index of that many things: 1, 2, 4, 8 or 16."""
    return next(bits for bits in (1, 2, 4, 8, 16) if count <= 1 << bits)
