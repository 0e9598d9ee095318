"""Forms made of other forms, products and sums: the results of compositions of two methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from dtc.forms.base import Array, Form, Parts, scaled
from dtc.forms.halves import halved
from dtc.forms.registry import pack_form, unpack_form


@dataclass(frozen=True, eq=False)
class Product:
    """`left [out, rank] @ right [rank, in]`, each factor a form of its own (svd, then another method).

    With `turned`, the right form is of the factor's transpose `[in, rank]`: forms are made of rows, and what a row is
    depends on the node that will read the factor.
    """

    kind: ClassVar[str] = "product"

    left: Form
    right: Form
    turned: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """`(out, in)` of the matrix."""
        return self.left.shape[0], self.right.shape[0 if self.turned else 1]

    @property
    def nbytes(self) -> int:
        """Bytes of both factors."""
        return self.left.nbytes + self.right.nbytes

    @property
    def detail(self) -> str:
        """The rank, and how the factors are stored."""
        return f"rank {self.left.shape[1]}, factors {self.left.kind} ({self.left.detail})"

    @property
    def shared(self) -> dict[str, int]:
        """Shared parts of the factors."""
        return dict(self.left.shared) | dict(self.right.shared)

    def dense(self) -> Array:
        """Return the product of the dense factors."""
        return np.asarray(self.left.dense() @ self.right_dense(), dtype=np.float32)

    def right_dense(self) -> Array:
        """Return the right factor `[rank, in]`."""
        return np.ascontiguousarray(self.right.dense().T) if self.turned else self.right.dense()

    def rows(self, start: int, stop: int) -> Self:
        """Return the form of some rows: those of the left factor."""
        return replace(self, left=self.left.rows(start, stop))

    @classmethod
    def scaled(cls, forms: Sequence[Self], factors: Array) -> Sequence[Self] | None:
        """Return forms with every row multiplied by a factor: the left one takes them if it can."""
        left = scaled([form.left for form in forms], factors)
        return None if left is None else [replace(form, left=new) for form, new in zip(forms, left, strict=True)]

    def halved(self) -> Self:
        """Return the form with the scales of both factors in float16, where that holds them."""
        return replace(self, left=halved(self.left), right=halved(self.right))

    def pack(self) -> Parts:
        """Return the parts of both factors."""
        turned: Parts = {"turned": np.ones(1, np.uint8)} if self.turned else {}
        return _packed({"left": self.left, "right": self.right}) | turned

    @classmethod
    def unpack(cls, parts: Parts) -> Self:
        """Return the product of the stored factors."""
        return cls(_unpacked(parts, "left"), _unpacked(parts, "right"), "turned" in parts)


@dataclass(frozen=True, eq=False)
class Sum:
    """`first + second`: the large weights in a sparse form, the rest of the matrix in another (prune, then svd)."""

    kind: ClassVar[str] = "sum"

    first: Form
    second: Form

    @property
    def shape(self) -> tuple[int, int]:
        """`(out, in)` of the matrix."""
        return self.first.shape

    @property
    def nbytes(self) -> int:
        """Bytes of both terms."""
        return self.first.nbytes + self.second.nbytes

    @property
    def detail(self) -> str:
        """Both terms."""
        return f"{self.first.kind} ({self.first.detail}) + {self.second.kind} ({self.second.detail})"

    @property
    def shared(self) -> dict[str, int]:
        """Shared parts of the terms."""
        return dict(self.first.shared) | dict(self.second.shared)

    def dense(self) -> Array:
        """Return the sum of the dense terms."""
        return np.asarray(self.first.dense() + self.second.dense(), dtype=np.float32)

    def rows(self, start: int, stop: int) -> Self:
        """Return the form of some rows: those of both terms."""
        return replace(self, first=self.first.rows(start, stop), second=self.second.rows(start, stop))

    @classmethod
    def scaled(cls, forms: Sequence[Self], factors: Array) -> Sequence[Self] | None:
        """Return forms with every row multiplied by a factor: both terms take them if they can."""
        first = scaled([form.first for form in forms], factors)
        second = scaled([form.second for form in forms], factors)
        if first is None or second is None:
            return None
        new = zip(forms, first, second, strict=True)
        return [replace(form, first=one, second=other) for form, one, other in new]

    def halved(self) -> Self:
        """Return the form with the scales of both terms in float16, where that holds them."""
        return replace(self, first=halved(self.first), second=halved(self.second))

    def pack(self) -> Parts:
        """Return the parts of both terms."""
        return _packed({"first": self.first, "second": self.second})

    @classmethod
    def unpack(cls, parts: Parts) -> Self:
        """Return the sum of the stored terms."""
        return cls(_unpacked(parts, "first"), _unpacked(parts, "second"))


def _packed(forms: Mapping[str, Form]) -> Parts:
    # Names nest: a product whose left factor is a binary code stores left.kind, left.codes, left.alphas, ...
    parts: Parts = {}
    for name, form in forms.items():
        parts |= {f"{name}.{key}": array for key, array in pack_form(form).items()}
    return parts


def _unpacked(parts: Parts, name: str) -> Form:
    # left.codes -> codes; only the first word goes, so that left.right.codes is right.codes of the factor.
    prefix = f"{name}."
    return unpack_form({key.removeprefix(prefix): array for key, array in parts.items() if key.startswith(prefix)})
