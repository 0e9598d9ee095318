"""The places of a sparse weight as the gaps between them: what loads fastest where most of a weight is zero.

Of the arrays that decoding makes only the last is as large as the weight; a bitmap makes five, and has a place for each
weight where this has one for each value. Small sites lie one behind the other, and are decoded together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.forms import Form
from dtc.forms.sparse import Sparse
from dtc.forms.sparse_pattern import Bitmap, Csr
from dtc.graph import Site
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.decode import in_place
from dtc.passes.lower.joint import Joint
from dtc.passes.lower.running_sums import SumsBefore, sums_in_front_of

OPSET = 11
"""Operator set that the decoding nodes came with."""

_WIDEST = 255
"""The widest gap of a byte."""

NODES_OF_CSR = 1100
"""Bytes that decoding CSR in nodes takes in a file more than decoding a bitmap or gaps, of each site, about."""


@dataclass(frozen=True, eq=False)
class Gaps:
    """The values of a list of numbers, and how far each is before the next one; the first is that of place 0.

    Attributes:
        gaps: uint8 `[count]`; in a wider gap there are values of zero, 255 places apart.
        values: `[count]`.
    """

    gaps: npt.NDArray[np.uint8]
    values: npt.NDArray[Any]

    @classmethod
    def of(cls, numbers: npt.NDArray[Any]) -> Self:
        """Return the gaps of numbers `[size]`."""
        # Places 3 and 300: gaps 3, 255, 42 and, behind the last, 0; values of zero at places 0 and 258.
        places = np.union1d(np.flatnonzero(numbers), [0])
        wide = np.diff(places, append=places[-1])
        steps = np.maximum(-(-wide // _WIDEST), 1)
        gaps = np.full(steps.sum(), _WIDEST)
        gaps[np.cumsum(steps) - 1] = wide - (steps - 1) * _WIDEST
        return cls(gaps.astype(np.uint8), numbers[np.cumsum(gaps) - gaps])

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored."""
        return self.gaps.nbytes + self.values.nbytes


def decode_forms_together(joint: Joint, front: GraphBuilder, site: Site, forms: Sequence[Form]) -> ir.Value | None:
    """Return the dense weight, in the initializer's own shape and type; None where gaps would take more bytes."""
    form = Sparse.stack([form for form in forms if isinstance(form, Sparse)])
    # Of a bitmap a value takes 8 bits at most where there is one in 8 weights: most matrices are told without a try.
    sparse = isinstance(form.pattern, Bitmap | Csr) and form.pattern.count <= form.shape[0] * form.shape[1] // 8
    if front.opset < OPSET or not sparse:
        return None
    wanted = site.value.dtype or ir.DataType.FLOAT
    stored = np.float16 if wanted == ir.DataType.FLOAT16 else form.values.dtype
    numbers = in_place(site, form.dense()).reshape(-1).astype(stored)
    more = NODES_OF_CSR if isinstance(form.pattern, Csr) else 0
    if not numbers.any() or Gaps.of(numbers).nbytes > form.nbytes + more:
        return None
    sums, weight = sums_in_front_of(site, portable=joint.portable), int(np.count_nonzero(numbers))
    key, decode = ("gaps", numbers.dtype, wanted, sums), partial(_store_gaps, sums=sums, wanted=wanted)
    flat = joint.share(site, key, numbers, decode, weight=weight)
    return front.op("Reshape", [flat, front.constant(site.shape)])


def _store_gaps(builder: GraphBuilder, numbers: npt.NDArray[Any], *, sums: SumsBefore, wanted: ir.DataType) -> ir.Value:
    """Store numbers `[size]` as gaps and values; return what decodes them, of the type that is wanted."""
    # Gaps 2 1 0, values a b c, [5]: places 0 2 3, a 0 b c 0.
    found = Gaps.of(numbers)
    gaps, values = builder.initializer("gaps", found.gaps), builder.initializer("values", found.values)
    values = values if values.dtype == wanted else builder.op("Cast", [values], to=wanted)
    places = sums(builder, builder.op("Cast", [gaps], to=ir.DataType.INT32), len(found.gaps))
    zero = ir.tensor(np.zeros(1, dtype=wanted.numpy()), dtype=wanted)
    zeros = builder.op("ConstantOfShape", [builder.constant([numbers.size])], value=zero)
    return builder.op("ScatterElements", [zeros, places, values], axis=0)
