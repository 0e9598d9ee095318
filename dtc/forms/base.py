"""The protocol of compressed forms: what each of them can say of itself, decode, and store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float32]
"""Float32: weights, and the numbers that compressed weights are made of."""

AnyArray: TypeAlias = npt.NDArray[np.generic]
"""An array of any dtype: a tensor that flows through a model, or a stored part of a form."""

Parts = dict[str, npt.NDArray[np.generic]]
"""The arrays that a form is stored as, by name."""


@runtime_checkable
class Form(Protocol):
    """One matrix `[out, in]` in compressed form: what lies between a distortion and its lowering.

    Export writes the parts of a form. It never runs a method again on already distorted floats, because
    methods are not all idempotent.
    """

    kind: ClassVar[str]
    """Name of the form, for reports and files."""

    @property
    def shape(self) -> tuple[int, int]:
        """`(out, in)` of the matrix."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of the stored parts."""
        ...

    @property
    def detail(self) -> str:
        """The particulars of this form, in a few words for a report: bits, rank, sparsity."""
        ...

    @property
    def shared(self) -> dict[str, int]:
        """Bytes of the parts that other forms use too, by a name common to all users; `nbytes` has them as well."""
        ...

    def dense(self) -> Array:
        """Return the matrix, float32 `[out, in]`, exactly as the lowered graph computes with it."""
        ...

    def rows(self, start: int, stop: int) -> Self:
        """Return the form of the rows `start` to `stop - 1`: `form.rows(a, b).dense()` is `form.dense()[a:b]`."""
        ...

    def pack(self) -> Parts:
        """Return the arrays to store; `unpack` gives back a form of the same `dense()`, bit for bit."""
        ...

    @classmethod
    def unpack(cls, parts: Parts) -> Self:
        """Return the form that `pack` was called on."""
        ...


@runtime_checkable
class Scalable(Protocol):
    """A form that may have a place for a factor of each row."""

    @classmethod
    def scaled(cls, forms: Sequence[Any], factors: Array) -> Sequence[Form] | None:
        """Return the forms of `factors[i, :, None] * forms[i].dense()`, to the rounding of float32; None: no place.

        `forms`, of this kind, are of all matrices of a site, which a file may store as one; `factors` are float32
        `[count, out]`, of either sign.
        """
        ...


def scaled(forms: Sequence[Form], factors: Array) -> Sequence[Form] | None:
    """Return the forms of a site's matrices with rows multiplied by `factors [count, out]`; None: it has none."""
    return forms[0].scaled(forms, factors) if isinstance(forms[0], Scalable) else None


def stacked(forms: Sequence[Form]) -> Array:
    """Return the matrices of several forms of one shape, float32 `[count, out, in]`."""
    dense = [form.dense() for form in forms]
    return dense[0][None] if len(dense) == 1 else np.stack(dense)  # one large matrix is not copied for this


def bits_per_weight(form: Form) -> float:
    """Stored bits, all metadata counted, per weight of the matrix."""
    rows, cols = form.shape
    return 8.0 * form.nbytes / (rows * cols)


def stored_bytes(forms: Iterable[Form]) -> int:
    """Bytes of many forms together; a shared part counts once."""
    total, shared = 0, dict[str, int]()
    for form in forms:
        # Two forms of 100 bytes that share a basis of 60: 40 + 40 on their own, and once 60, make 140.
        total += form.nbytes - sum(form.shared.values())
        shared |= form.shared
    return total + sum(shared.values())
