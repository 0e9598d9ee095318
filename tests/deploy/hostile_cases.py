"""Nodes of the `dtc` operators that are wrong in one way, and what is to be said of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from native_cases import Array, Case, binary, bitmap, codebook, csr, with_input

ROWS, COLS = 5, 20

Change = Callable[[Array], Array]


@dataclass(frozen=True)
class Wrong:
    """A mistake in one input or attribute, and a part of the message that names it."""

    what: str
    value: Any
    says: str

    def apply(self, case: Case) -> Case | None:
        """Return the case with the mistake, None if the operator has no such input or attribute."""
        if callable(self.value):
            if self.what in case.given:
                return replace(case, given={self.what: self.value(case.given[self.what])})
            if self.what not in case.arrays:
                return None
            return replace(case, arrays=case.arrays | {self.what: self.value(case.arrays[self.what])})
        if self.what == "accuracy_level" and case.operator not in ("BinaryMatMul", "CodebookMatMul"):
            return None
        attributes = {name: value for name, value in case.attributes.items() if name != self.what}
        return replace(case, attributes=attributes if self.value is None else attributes | {self.what: self.value})

    @property
    def changes_type(self) -> bool:
        """Whether the elements are of another type."""
        return callable(self.value) and (self.value is as_words or self.value.__name__ in np.sctypeDict)

    def __str__(self) -> str:
        if callable(self.value):
            return f"{self.what}: {self.value.__name__}"
        return f"{self.what}={self.value}"


def as_type(dtype: str) -> Change:
    """Return a change of the element type."""

    def change(array: Array) -> Array:
        return array.astype(dtype)

    change.__name__ = dtype
    return change


def as_words(array: Array) -> Array:
    """Strings."""
    return np.full(array.shape, b"word", dtype=object)


def flat(array: Array) -> Array:
    """One dimension only, or two where there is one."""
    return array[None] if array.ndim == 1 else array.reshape(-1)


def deeper(array: Array) -> Array:
    """One dimension more."""
    return array[..., None]


def scalar(array: Array) -> Array:
    """No dimensions."""
    return array.reshape(-1)[0].reshape(())


def empty(array: Array) -> Array:
    """No element along the first dimension."""
    return array[:0]


def hollow(array: Array) -> Array:
    """No element along the last dimension."""
    return array[..., :0]


def shorter(array: Array) -> Array:
    """One less along the last dimension."""
    return array[..., :-1].copy()


def longer(array: Array) -> Array:
    """Twice as long along the last dimension."""
    return np.concatenate([array, array], axis=-1)


def lower(array: Array) -> Array:
    """One less along the first dimension."""
    return array[:-1].copy()


def higher(array: Array) -> Array:
    """Three times as long along the first dimension."""
    return np.concatenate([array, array, array])


def entry(index: int, value: int) -> Change:
    """Return a change of one element."""

    def change(array: Array) -> Array:
        changed = array.copy()
        changed.reshape(-1)[index] = value
        return changed

    change.__name__ = f"[{index}]={value}"
    return change


def types(what: str, *dtypes: str) -> list[Wrong]:
    """Return the mistake of each element type."""
    return [Wrong(what, as_type(dtype), f"{what} has element type") for dtype in dtypes] + [
        Wrong(what, as_words, f"{what} has element type 8")
    ]


HUGE = (2**40, 2**62, 2**63 - 1)
LEAST = -(2**63)

BINARY = [
    *(Wrong("bits", bits, f"bits is {bits}") for bits in (0, 9, -1, 2**40)),
    Wrong("bits", LEAST, f"bits is {LEAST}"),
    Wrong("bits", None, "bits"),
    Wrong("bits", 1.0, "bits"),
    Wrong("bits", 8, "codes has 2 planes, but bits is 8"),
    Wrong("in_features", -5, "in_features is -5, below 0"),
    Wrong("in_features", LEAST, f"in_features is {LEAST}"),
    Wrong("in_features", None, "in_features"),
    Wrong("in_features", 0, "codes has shape"),
    Wrong("in_features", 25, "4"),
    *(Wrong("in_features", cols, "") for cols in HUGE),
    *(Wrong("group_size", size, "not a multiple of 8") for size in (0, 7, -8)),
    Wrong("group_size", LEAST, f"group_size is {LEAST}"),
    Wrong("group_size", 8, "make 3 groups"),
    Wrong("group_size", None, "group"),
    *(Wrong("accuracy_level", level, "accuracy_level is") for level in (-1, 2, 3, 5, 2**40)),
    *types("codes", "int8", "uint16", "float32"),
    *types("alphas", "float64", "int32"),
    *(Wrong("codes", change, "codes has shape") for change in (deeper, shorter, longer)),
    *(Wrong("codes", change, "codes has") for change in (flat, empty, hollow, higher)),
    Wrong("codes", scalar, "codes has shape []"),
    *(Wrong("alphas", change, "alphas has") for change in (flat, deeper, empty, higher, scalar)),
    *(Wrong("alphas", change, "") for change in (shorter, longer, hollow)),
]

SPARSE = [
    *(Wrong("cols", cols, f"cols is {cols}") for cols in (-5, *HUGE)),
    Wrong("cols", LEAST, f"cols is {LEAST}"),
    Wrong("cols", None, "cols"),
    Wrong("cols", "20", "cols"),
    *types("values", "float64", "int32"),
    *(Wrong("values", change, "values") for change in (flat, deeper, scalar, shorter, longer, empty)),
]

CSR = [
    *SPARSE,
    Wrong("cols", 0, "but the weight has 0 columns"),
    Wrong("cols", 3, "but the weight has 3 columns"),
    *types("columns", "int8", "int32", "int64", "float32"),
    *types("row_pointers", "int8", "int32", "int64", "float32"),
    *(Wrong("columns", change, "columns has") for change in (flat, deeper, scalar, shorter, longer, empty)),
    Wrong("columns", entry(0, COLS), f"columns holds {COLS}"),
    Wrong("columns", entry(-1, 255), "columns holds 255"),
    *(Wrong("row_pointers", change, "row_pointers has") for change in (flat, deeper, scalar)),
    Wrong("row_pointers", empty, "row_pointers is empty"),
    Wrong("row_pointers", entry(0, 1), "row_pointers begins with 1"),
    Wrong("row_pointers", entry(2, 255), "row_pointers falls behind row 2"),
    Wrong("row_pointers", entry(-1, 255), "row_pointers ends with 255"),
    Wrong("row_pointers", shorter, "row_pointers ends with"),
    Wrong("row_pointers", longer, "row_pointers falls behind row"),
]

BITMAP = [
    *SPARSE,
    *(Wrong("cols", cols, "bitmap has") for cols in (0, 17, 25)),
    *types("bitmap", "int8", "bool", "uint16", "float32"),
    *(Wrong("bitmap", change, "bitmap has shape") for change in (flat, deeper, scalar, shorter, longer, hollow)),
    *(Wrong("bitmap", change, "bits set") for change in (lower, higher, empty, entry(0, 255), entry(0, 0))),
    Wrong("bitmap", entry(2, 128), "bitmap has bits behind the last column of row 0"),
]

CODEBOOK = [
    *(Wrong("bits", bits, f"bits is {bits}, not 1, 2, 4 or 8") for bits in (0, 3, 9, 16, -1, -4, 2**40)),
    Wrong("bits", LEAST, f"bits is {LEAST}"),
    Wrong("bits", None, "bits"),
    Wrong("bits", 8, "indices has shape"),
    Wrong("columns", -5, "columns is -5"),
    Wrong("columns", LEAST, f"columns is {LEAST}"),
    *(Wrong("columns", columns, "indices has shape") for columns in (0, 1, 25, *HUGE)),
    Wrong("columns", None, "columns"),
    *types("indices", "int8", "uint16", "int64", "float32"),
    *types("codewords", "float16", "float64", "int32"),
    *(Wrong("indices", change, "indices has shape") for change in (flat, deeper, scalar, shorter, longer, hollow)),
    *(Wrong("codewords", change, "codewords has shape") for change in (flat, deeper, scalar, empty, hollow)),
    Wrong("codewords", longer, "indices has shape"),
    *(Wrong("accuracy_level", level, "accuracy_level is") for level in (-1, 2, 2**40)),
]

X = [
    *(Wrong("x", change, "x must be a float32 tensor") for change in map(as_type, ("float64", "float16", "int64"))),
    Wrong("x", as_words, "x must be a float32 tensor"),
    *(Wrong("x", change, "columns") for change in (shorter, longer, hollow, deeper, scalar)),
]

IDS = [
    *(Wrong("ids", change, "ids must be int32 or int64") for change in map(as_type, ("uint8", "float32", "uint64"))),
    Wrong("ids", as_words, "ids must be int32 or int64"),
    *(Wrong("ids", entry(0, row), f"id {row} is out of range") for row in (ROWS, -ROWS - 1, 2**31 - 1, -(2**31))),
]

LARGE_IDS = [Wrong("ids", entry(0, row), f"id {row} is out of range") for row in (2**63 - 1, LEAST, 2**32)]


def hostile_cases() -> list[tuple[Case, Wrong]]:
    """Return every mistake in every operator that it can be made in."""
    found = []
    for kind in ("MatMul", "Gather", "Dequantize"):
        families = [
            (binary(ROWS, COLS, kind=kind), BINARY),
            (csr(ROWS, COLS, kept=0.5), CSR),
            (bitmap(ROWS, COLS, kept=0.5), BITMAP),
            (codebook(ROWS, COLS), CODEBOOK),
        ]
        for case, mistakes in families:
            whole = with_input(case, kind, (3,), seed=1)
            for wrong in [*mistakes, *X, *IDS, *LARGE_IDS]:
                made = wrong.apply(whole)
                if made is not None and not (wrong in (*X, *IDS, *LARGE_IDS) and wrong.what not in whole.given):
                    found.append((made, wrong))
    return found
