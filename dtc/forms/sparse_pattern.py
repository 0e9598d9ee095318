"""Patterns of sparse matrices, the places of the values: a bit for each weight, CSR, or whole rows or columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from dtc.forms.base import Parts

Bools = npt.NDArray[np.bool_]
Unsigned = npt.NDArray[np.unsignedinteger[Any]]
Numbers = npt.NDArray[Any]


class Pattern(Protocol):
    """The places of the values in a matrix `[rows, cols]`, in the order in which values are stored."""

    @property
    def shape(self) -> tuple[int, int]:
        """`(rows, cols)` of the matrix."""
        ...

    @property
    def count(self) -> int:
        """Number of values."""
        ...

    @property
    def detail(self) -> str:
        """The layout, in a few words."""
        ...

    def take(self, matrix: Numbers) -> Numbers:
        """Return the values of `matrix` at these places, one-dimensional."""
        ...

    def put(self, matrix: Numbers, values: Numbers) -> None:
        """Write `values` into `matrix` at these places."""
        ...

    def parts(self) -> Parts:
        """Return the arrays to store."""
        ...


@dataclass(frozen=True, eq=False)
class Bitmap:
    """A bit for each weight, row by row, LSB first along the input dimension; pad bits are 0.

    `bits` is uint8 `[rows, ceil(cols / 8)]`. Values are in row-major order.
    """

    bits: npt.NDArray[np.uint8]
    cols: int

    def __post_init__(self) -> None:
        if self.bits.dtype != np.uint8 or self.bits.ndim != 2 or self.bits.shape[1] != -(-self.cols // 8):
            raise ValueError(
                f"bits of shape {self.bits.shape}, {self.bits.dtype}, are no bitmap of {self.cols} columns"
            )
        # A set pad bit would count as a value that no place in the matrix belongs to.
        if self.cols % 8 and (self.bits[:, -1] >> (self.cols % 8)).any():
            raise ValueError(f"a bit behind column {self.cols} is set")

    @classmethod
    def of(cls, kept: Bools) -> Self:
        """Return the pattern of `kept [rows, cols]`."""
        # [[0, 1, 0], [1, 0, 1]] -> [[0b010], [0b101]]: column j is bit j.
        return cls(np.packbits(kept, axis=1, bitorder="little"), kept.shape[1])

    @staticmethod
    def cost(shape: tuple[int, ...], count: int, itemsize: int) -> int:
        """Return the bytes of `count` values and their places."""
        return shape[0] * -(-shape[1] // 8) + count * itemsize + _COLS_BYTES

    @property
    def shape(self) -> tuple[int, int]:
        """`(rows, cols)` of the matrix."""
        return self.bits.shape[0], self.cols

    @property
    def count(self) -> int:
        """Number of values."""
        return int(_BITS_OF_BYTE[self.bits].sum(dtype=np.int64))

    @property
    def detail(self) -> str:
        """The layout."""
        return "bitmap"

    def take(self, matrix: Numbers) -> Numbers:
        """Return the values of `matrix`, row by row."""
        return matrix[self._kept()]

    def put(self, matrix: Numbers, values: Numbers) -> None:
        """Write the values, row by row."""
        matrix[self._kept()] = values

    def parts(self) -> Parts:
        """Return the bitmap, and the number of columns, which its bytes do not tell."""
        return {"bitmap": self.bits, "cols": _cols_part(self.cols)}

    def _kept(self) -> Bools:
        return np.unpackbits(self.bits, axis=1, count=self.cols, bitorder="little").view(np.bool_)


@dataclass(frozen=True, eq=False)
class Csr:
    """Compressed sparse rows: the column of each value, rising within a row, and where each row begins.

    `columns [count]` and `row_pointers [rows + 1]` are in the smallest unsigned type that fits.
    """

    columns: Unsigned
    row_pointers: Unsigned
    cols: int

    def __post_init__(self) -> None:
        columns, pointers = self.columns, self.row_pointers.astype(np.int64)
        if columns.ndim != 1 or pointers.ndim != 1 or len(pointers) < 2 or columns.dtype.kind != "u":
            raise ValueError(f"columns {columns.shape} and row pointers {pointers.shape} are not CSR")
        if pointers[0] != 0 or pointers[-1] != len(columns) or (np.diff(pointers) < 0).any():
            raise ValueError(f"row pointers do not rise from 0 to the {len(columns)} columns")
        if len(columns) and int(columns.max()) >= self.cols:
            raise ValueError(f"column {int(columns.max())} is outside a matrix of {self.cols} columns")
        # within[i]: places i and i + 1 are in one row. Columns 0 3 1 with row pointers 0 2 3: the pair (3, 1) crosses
        # the end of a row and may fall. Pointers at 0 or at the very end belong to empty rows and part no pair.
        within = np.ones(max(len(columns) - 1, 0), dtype=bool)
        ends = pointers[1:-1]
        within[ends[(ends > 0) & (ends < len(columns))] - 1] = False
        if (columns[1:] <= columns[:-1])[within].any():
            raise ValueError("the columns of a row do not rise")

    @classmethod
    def of(cls, kept: Bools) -> Self:
        """Return the pattern of `kept [rows, cols]`."""
        cols = kept.shape[1]
        # [[0, 1, 0], [1, 0, 1]] -> columns [1, 0, 2], row pointers [0, 1, 3].
        columns = np.flatnonzero(kept) % cols
        pointers = np.concatenate([[0], np.cumsum(np.count_nonzero(kept, axis=1))])
        return cls(
            columns.astype(np.min_scalar_type(cols - 1)), pointers.astype(np.min_scalar_type(len(columns))), cols
        )

    @staticmethod
    def cost(shape: tuple[int, ...], count: int, itemsize: int) -> int:
        """Return the bytes of `count` values and their places."""
        column, pointer = np.min_scalar_type(shape[1] - 1).itemsize, np.min_scalar_type(count).itemsize
        return count * (itemsize + column) + (shape[0] + 1) * pointer + _COLS_BYTES

    @property
    def shape(self) -> tuple[int, int]:
        """`(rows, cols)` of the matrix."""
        return len(self.row_pointers) - 1, self.cols

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.columns)

    @property
    def detail(self) -> str:
        """The layout, and the bits of a column."""
        return f"CSR, {8 * self.columns.itemsize}-bit columns"

    def take(self, matrix: Numbers) -> Numbers:
        """Return the values of `matrix`, row by row."""
        return matrix[self._rows(), self.columns]

    def put(self, matrix: Numbers, values: Numbers) -> None:
        """Write the values, row by row."""
        matrix[self._rows(), self.columns] = values

    def parts(self) -> Parts:
        """Return columns, row pointers, and the number of columns of the matrix."""
        return {"columns": self.columns, "row_pointers": self.row_pointers, "cols": _cols_part(self.cols)}

    def _rows(self) -> npt.NDArray[np.int64]:
        return np.repeat(np.arange(self.shape[0]), _lengths(self.row_pointers))


@dataclass(frozen=True, eq=False)
class Lines:
    """Whole rows (`axis` 0) or columns (`axis` 1): the others are zero.

    `kept` are their numbers, rising, in the smallest unsigned type that fits. Values are line by line: the matrix of
    the kept rows, or the transposed matrix of the kept columns.
    """

    kept: Unsigned
    axis: int
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        if self.kept.ndim != 1 or self.kept.dtype.kind != "u" or self.axis not in (0, 1):
            raise ValueError(f"kept lines of shape {self.kept.shape}, {self.kept.dtype}, are no list of lines")
        if (np.diff(self.kept.astype(np.int64)) <= 0).any():
            raise ValueError("the kept lines do not rise")
        if len(self.kept) and int(self.kept[-1]) >= self.shape[self.axis]:
            raise ValueError(f"line {int(self.kept[-1])} is outside a matrix {self.shape[0]}x{self.shape[1]}")

    @classmethod
    def of(cls, kept: npt.NDArray[np.bool_], axis: int, width: int) -> Self:
        """Return the pattern of the lines that are True in `kept`, each of `width` weights."""
        shape = (len(kept), width) if axis == 0 else (width, len(kept))
        return cls(np.flatnonzero(kept).astype(np.min_scalar_type(len(kept) - 1)), axis, shape)

    @staticmethod
    def cost(shape: tuple[int, ...], axis: int, lines: int, itemsize: int) -> int:
        """Return the bytes of `lines` whole lines and their numbers."""
        # 2 of 3 rows of 4 float32 weights: 2 (4 * 4 bytes + 1 byte for the row's number) + 12 bytes = 46.
        return lines * (shape[1 - axis] * itemsize + np.min_scalar_type(shape[axis] - 1).itemsize) + _SHAPE_BYTES

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.kept) * self.shape[1 - self.axis]

    @property
    def detail(self) -> str:
        """How many lines are kept."""
        return f"{len(self.kept)} of {self.shape[self.axis]} {'rows' if self.axis == 0 else 'columns'}"

    def take(self, matrix: Numbers) -> Numbers:
        """Return the values of `matrix`, line by line."""
        # Rows 0 and 2 of [3, 4] -> 8 values. Columns 0 and 2 -> 6 values, column after column.
        return (matrix if self.axis == 0 else matrix.T)[self.kept].reshape(-1)

    def put(self, matrix: Numbers, values: Numbers) -> None:
        """Write the values, line by line."""
        # The transpose is a view: what is written into it is written into `matrix`.
        (matrix if self.axis == 0 else matrix.T)[self.kept] = values.reshape(len(self.kept), -1)

    def parts(self) -> Parts:
        """Return the kept lines, and the shape of the matrix with the axis."""
        return {"kept": self.kept, "shape": np.array([*self.shape, self.axis], dtype=np.uint32)}


def pattern_of_parts(parts: Parts) -> Pattern:
    """Return the pattern whose arrays are among `parts`.

    Raises:
        ValueError: There is none, or its arrays do not fit together.
    """
    # 1. Whole rows or columns; `shape` is (rows, columns, axis).
    if "kept" in parts and parts.get("shape", np.empty(0)).shape == (3,):
        rows, cols, axis = (int(number) for number in parts["shape"])
        return Lines(_unsigned(parts["kept"]), axis, (rows, cols))
    # 2. A bitmap, or 3. CSR: both need the number of columns beside their arrays.
    if parts.get("cols", np.empty(0)).shape == (1,):
        cols = int(parts["cols"][0])
        if "bitmap" in parts:
            return Bitmap(parts["bitmap"], cols)  # type: ignore[arg-type]  # the dtype is checked
        if {"columns", "row_pointers"} <= parts.keys():
            return Csr(_unsigned(parts["columns"]), _unsigned(parts["row_pointers"]), cols)
    raise ValueError(f"the parts {sorted(parts)} are no sparse pattern")


def _unsigned(array: npt.NDArray[np.generic]) -> Unsigned:
    if array.dtype.kind != "u":
        raise ValueError(f"indices are unsigned, not {array.dtype}")
    return array  # type: ignore[return-value]  # the dtype is checked


def _lengths(pointers: Unsigned) -> npt.NDArray[np.int64]:
    wide = pointers.astype(np.int64)
    return wide[1:] - wide[:-1]


def _cols_part(cols: int) -> npt.NDArray[np.uint32]:
    return np.array([cols], dtype=np.uint32)


_COLS_BYTES, _SHAPE_BYTES = 4, 12
_BITS_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)
