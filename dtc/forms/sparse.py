"""The sparse form: the non-zero values of a matrix, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from dtc.forms.base import Array, Parts
from dtc.forms.sparse_pattern import Bitmap, Csr, Lines, Pattern, pattern_of_parts

ValueType: TypeAlias = Literal["float32", "float16"]
Values: TypeAlias = "npt.NDArray[np.float32] | npt.NDArray[np.float16]"


@dataclass(frozen=True, eq=False)
class Sparse:
    """The values at the places of a pattern, in the pattern's order; every other weight is +0.0.

    The pattern is a bit for each weight, CSR, or whole rows or columns, whichever is the smallest for the matrix.
    Values are finite, in float32 or float16; among them zeros are allowed (a pattern of whole rows has them), -0.0
    is not, so that what is not stored and what is stored as zero are the same bits.
    """

    kind: ClassVar[str] = "sparse"

    values: Values
    pattern: Pattern

    def __post_init__(self) -> None:
        if self.values.dtype not in (np.float32, np.float16):
            raise ValueError(f"sparse values are float32 or float16, not {self.values.dtype}")
        if self.values.shape != (self.pattern.count,):
            raise ValueError(f"{self.values.shape} values do not fit a pattern of {self.pattern.count} places")
        if not np.isfinite(self.values).all():
            raise ValueError("sparse values must be finite")

    @classmethod
    def of(cls, matrix: Array, value_type: ValueType = "float32") -> Self:
        """Return the sparse form of `matrix [out, in]`: its non-zero weights, in the smallest pattern.

        float16 rounds; what it rounds to zero is not stored. A matrix of zeros alone stores one of them, because
        empty tensors are a corner that runtimes treat differently.

        Raises:
            ValueError: A weight is not finite, or too large for float16.
        """
        if not np.isfinite(matrix).all():
            raise ValueError("the matrix holds NaN or infinity")
        # A weight too large for float16 becomes infinite without a warning, and is refused below.
        with np.errstate(over="ignore"):
            typed = matrix.astype(value_type, copy=False)
        if not np.isfinite(typed).all():
            raise ValueError(f"weights up to {np.abs(matrix).max():g} do not fit into {value_type}")
        kept = typed != 0
        if not kept.any():
            kept[0, 0] = True
        pattern = _smallest_pattern(kept, typed.itemsize)
        return cls(np.ascontiguousarray(pattern.take(typed)) + typed.dtype.type(0), pattern)  # -0.0 + 0 is +0.0

    @classmethod
    def stack(cls, forms: Sequence[Sparse]) -> Self:
        """Return the one form of matrices of the same width, put below each other."""
        if len(forms) == 1:
            return cls(forms[0].values, forms[0].pattern)
        # One float32 part makes the whole float32: values keep all their bits.
        half = all(form.values.dtype == np.float16 for form in forms)
        return cls.of(np.concatenate([form.dense() for form in forms]), "float16" if half else "float32")

    @classmethod
    def whole(cls, matrix: Array) -> Self:
        """Return the form that stores every weight of `matrix [out, in]`, zeros too: nothing is pruned yet."""
        pattern = Lines.of(np.ones(len(matrix), dtype=bool), 0, matrix.shape[1])
        return cls(pattern.take(matrix.astype(np.float32)) + np.float32(0), pattern)

    @property
    def shape(self) -> tuple[int, int]:
        """`(out, in)` of the matrix."""
        return self.pattern.shape

    @property
    def nbytes(self) -> int:
        """Bytes of the values and of their places."""
        return sum(array.nbytes for array in self.pack().values())

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        rows, cols = self.shape
        return 1.0 - int(np.count_nonzero(self.values)) / (rows * cols)

    @property
    def detail(self) -> str:
        """The sparsity, the layout, and the type of values that are not float32."""
        half = ", float16 values" if self.values.dtype == np.float16 else ""
        return f"{100 * self.sparsity:.4g} % zeros, {self.pattern.detail}{half}"

    @property
    def shared(self) -> dict[str, int]:
        """Nothing is shared."""
        return {}

    def kept(self) -> npt.NDArray[np.bool_]:
        """Return which weights are stored, bool `[out, in]`."""
        kept = np.zeros(self.shape, dtype=bool)
        self.pattern.put(kept, np.ones(len(self.values), dtype=bool))
        return kept

    def dense(self) -> Array:
        """Return the matrix, float32 `[out, in]`."""
        matrix = np.zeros(self.shape, dtype=np.float32)
        self.pattern.put(matrix, self.values.astype(np.float32))
        return matrix

    def rows(self, start: int, stop: int) -> Self:
        """Return the form of some rows, in their own smallest pattern."""
        return type(self).of(self.dense()[start:stop], "float16" if self.values.dtype == np.float16 else "float32")

    @classmethod
    def scaled(cls, forms: Sequence[Self], factors: Array) -> Sequence[Self]:
        """Return forms with every row multiplied by a factor, in float32."""
        return [form.with_factors(row) for form, row in zip(forms, factors, strict=True)]

    def with_factors(self, factors: Array) -> Self:
        """Return the form with row i multiplied by `factors[i]`, in float32."""
        spread = self.pattern.take(np.broadcast_to(factors[:, None], self.shape))
        return type(self)(self.values.astype(np.float32) * spread + np.float32(0), self.pattern)  # -0.0 + 0 is +0.0

    def pack(self) -> Parts:
        """Return the values, and the arrays of the pattern."""
        return {"values": self.values, **self.pattern.parts()}

    @classmethod
    def unpack(cls, parts: Parts) -> Self:
        """Return the form of the given parts.

        Raises:
            ValueError: The parts do not fit together: a place outside the matrix, too few values.
        """
        if "values" not in parts:
            raise ValueError("a sparse form without values")
        return cls(parts["values"], pattern_of_parts(parts))  # type: ignore[arg-type]  # the dtype is checked


def smallest_cost(rows: int, cols: int, count: int) -> int:
    """Return the bytes of `count` scattered float32 values of a matrix `[rows, cols]`, with their places."""
    return min(layout.cost((rows, cols), count, 4) for layout in (Bitmap, Csr))


def _smallest_pattern(kept: npt.NDArray[np.bool_], itemsize: int) -> Pattern:
    """Return the pattern that stores `kept` in the fewest bytes, values included; of equal ones the bitmap."""
    shape, count = kept.shape, int(np.count_nonzero(kept))
    # lines[0]: rows that hold a value, bool [out]; lines[1]: columns, bool [in].
    lines = [np.asarray(kept.any(axis=1 - axis)) for axis in (0, 1)]
    costs = [Bitmap.cost(shape, count, itemsize), Csr.cost(shape, count, itemsize)]
    # In the order bitmap, CSR, rows, columns; `argmin` takes the first of equal ones. A 512x512 float32 matrix:
    # the bitmap costs 32 KiB beside the values, CSR 2 bytes a value and 513 pointers: the smaller below 6 % of values.
    costs += [Lines.cost(shape, axis, int(np.count_nonzero(lines[axis])), itemsize) for axis in (0, 1)]
    match int(np.argmin(costs)):
        case 0:
            return Bitmap.of(kept)
        case 1:
            return Csr.of(kept)
        case choice:
            # Choice 2 is axis 0, rows of shape[1] weights; choice 3 is axis 1, columns of shape[0].
            return Lines.of(lines[choice - 2], choice - 2, shape[3 - choice])
