"""The places of a sparse weight as the gaps between them: what loads fastest where most of a weight is zero.

Of the arrays that decoding makes only the last is as large as the weight; a bitmap makes five, and has a place for each
weight where this has one for each value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.forms.sparse import Sparse
from dtc.forms.sparse_pattern import Bitmap, Csr
from dtc.graph.builder import GraphBuilder

_WIDEST = 255
"""The widest gap of a byte."""

NODES_OF_CSR = 1100
"""Bytes that decoding CSR in nodes takes in a file more than decoding a bitmap or gaps, of each site, about."""


@dataclass(frozen=True, eq=False)
class Gaps:
    """The values of a matrix, laid flat row by row, and how far each is behind the one before; the first: its place.

    Attributes:
        gaps: uint8 `[count]`; in a wider gap there are values of zero, 255 places apart.
        values: `[count]`.
    """

    gaps: npt.NDArray[np.uint8]
    values: npt.NDArray[Any]

    @classmethod
    def of(cls, form: Sparse, *, transposed: bool) -> Self:
        """Return the gaps of a matrix, or of its transpose."""
        # Places 3, 300 and 301: gaps 3, 297 and 1, of which 297 is 255 and 42, with a zero at place 258.
        matrix = form.dense()
        flat = (matrix.T if transposed else matrix).reshape(-1)
        places = np.flatnonzero((form.kept().T if transposed else form.kept()).reshape(-1))
        wide = np.diff(places, prepend=0)
        steps = np.maximum(-(-wide // _WIDEST), 1)
        gaps = np.full(steps.sum(), _WIDEST)
        ends = np.cumsum(steps) - 1
        gaps[ends] = wide - (steps - 1) * _WIDEST
        return cls(gaps.astype(np.uint8), flat[np.cumsum(gaps)].astype(form.values.dtype))

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored."""
        return self.gaps.nbytes + self.values.nbytes


def gaps_where_smaller(form: Sparse, *, transposed: bool) -> Gaps | None:
    """Return a matrix, or its transpose, as gaps; None where it takes fewer bytes as it is."""
    # Of a bitmap a value takes 8 bits at most where there is one in 8 weights: most matrices are told without a try.
    if not isinstance(form.pattern, Bitmap | Csr) or form.pattern.count > form.shape[0] * form.shape[1] // 8:
        return None
    gaps, more = Gaps.of(form, transposed=transposed), NODES_OF_CSR if isinstance(form.pattern, Csr) else 0
    return gaps if gaps.nbytes <= form.nbytes + more else None


def decode_gaps(builder: GraphBuilder, gaps: ir.Value, values: ir.Value, shape: tuple[int, int]) -> ir.Value:
    """Return the matrix of a shape, of gaps and of values in the type that it shall have."""
    # Gaps 1 2 1, values a b c, [2, 3]: places 1 3 4, 0 a 0 b c 0, and its two rows.
    places = builder.op("CumSum", [builder.op("Cast", [gaps], to=ir.DataType.INT32), builder.constant(0)])
    dtype = values.dtype or ir.DataType.FLOAT
    zero = ir.tensor(np.zeros(1, dtype=dtype.numpy()), dtype=dtype)
    zeros = builder.op("ConstantOfShape", [builder.constant([shape[0] * shape[1]])], value=zero)
    flat = builder.op("ScatterElements", [zeros, places, values], axis=0)
    return builder.op("Reshape", [flat, builder.constant(shape)])
