"""The low-rank form: a product of two factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from dtc.forms.base import Array, Parts


@dataclass(frozen=True, eq=False)
class LowRank:
    """`left [out, rank] @ right [rank, in]`.

    `basis` names a `right` that several sites share (a shared projection); the graph then holds it once.
    `nbytes` counts it in full for each user, `dtc.forms.stored_bytes` counts it once.
    """

    kind: ClassVar[str] = "low_rank"

    left: Array
    right: Array
    basis: str | None = None

    def __post_init__(self) -> None:
        if self.left.ndim != 2 or self.right.ndim != 2 or self.left.shape[1] != self.right.shape[0]:
            raise ValueError(f"factors of shapes {self.left.shape} and {self.right.shape} do not multiply")

    @property
    def shape(self) -> tuple[int, int]:
        """`(out, in)` of the matrix."""
        return self.left.shape[0], self.right.shape[1]

    @property
    def rank(self) -> int:
        """Inner size of the product."""
        return int(self.left.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of both factors in float32."""
        return self.left.nbytes + self.right.nbytes

    @property
    def detail(self) -> str:
        """The rank, and whose basis is used."""
        return f"rank {self.rank}" + (f", {self.basis}" if self.basis else "")

    @property
    def shared(self) -> dict[str, int]:
        """Bytes of a shared `right`, by the name of its basis."""
        return {} if self.basis is None else {self.basis: self.right.nbytes}

    def dense(self) -> Array:
        """Return `left @ right`, float32 `[out, in]`."""
        return np.asarray(self.left @ self.right, dtype=np.float32)

    def rows(self, start: int, stop: int) -> Self:
        """Return the form of some rows, of the same `right`."""
        return replace(self, left=self.left[start:stop])

    @classmethod
    def scaled(cls, forms: Sequence[Self], factors: Array) -> Sequence[Self]:
        """Return forms with every row multiplied by a factor: the left one takes them."""
        return [replace(form, left=form.left * row[:, None]) for form, row in zip(forms, factors, strict=True)]

    def pack(self) -> Parts:
        """Return the two factors, and the name of a shared basis as UTF-8 bytes."""
        parts: Parts = {"left": self.left, "right": self.right}
        if self.basis is not None:
            parts["basis"] = np.frombuffer(self.basis.encode(), dtype=np.uint8)
        return parts

    @classmethod
    def unpack(cls, parts: Parts) -> Self:
        """Return the form of the given factors."""
        basis = bytes(parts["basis"].astype(np.uint8)).decode() if "basis" in parts else None
        left, right = (np.asarray(parts[name], dtype=np.float32) for name in ("left", "right"))
        return cls(left, right, basis)
