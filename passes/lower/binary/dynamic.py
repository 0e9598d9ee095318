"""Codes of 8 bits, and activations whose levels no samples tell: rounded as they come, with one scale for all of them.

`DynamicQuantizeLinear`, `MatMulInteger` and what scales the sums, in standard operators, which ONNX Runtime makes a
`DynamicQuantizeMatMul` of.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.graph import Reader, Site
from dtc.graph.builder import GraphBuilder
from dtc.graph.opset import opset_of, too_old
from dtc.passes.lower.binary.integers import whole_steps
from dtc.passes.lower.binary.parts import Planes
from dtc.passes.lower.coded import CodedSite
from dtc.passes.lower.costs import Choice
from dtc.passes.lower.decode import arranged
from dtc.passes.lower.lowered import Compressed, Lowered, ReadBy
from dtc.passes.lower.packed_numbers import store_as_floats
from dtc.passes.lower.readers import Unfit, product_of
from dtc.passes.lower.recurrent.operator import CodedWeight
from dtc.passes.lower.rewriting import Rewriting

OPSET = 11
"""The first one with DynamicQuantizeLinear."""

REASON = "in integers of 8 bits, to which what it is multiplied with is rounded as it comes"
TOLERANCE = 5e-2
"""Relative L2 of the outputs: what the rounding of activations to 8 bits may make of its own error, near 0.01."""
BECAUSE = "what weights are multiplied with is rounded to 8 bits"

SMALLEST, MANY = 1 << 18, 16
"""Weights of a matrix from which rounding what it is multiplied with takes less than integers save; of so many rows, a
sixteenth of that. Measured on a Xeon with AMX: 512 x 512 is 1.3 times as fast for a row, 128 x 128 1.1 times for 20."""


def unfit_dynamic(rewriting: Rewriting, item: Compressed, site: Site, planes: Planes) -> str | None:
    """Return why a site is not multiplied in integers of 8 bits with activations that are rounded as they come."""
    if not (item.rounds_inputs and rewriting.target.integers):
        return "it is not to round what it is multiplied with"
    old = too_old(opset_of(rewriting.model), OPSET)
    if old is not None:
        return f"rounding what comes {old}"
    if site.size < (SMALLEST if (site.rows or 1) < MANY else SMALLEST // MANY):
        return f"{site.size} weights are multiplied faster than what they are multiplied with is rounded"
    if whole_steps(planes) is None:
        return "it has no levels of 8 bits"
    products = (product_of(reader, site) for reader in site.readers)
    return next((product.reason for product in products if isinstance(product, Unfit)), None)


class DynamicSite(CodedSite):
    """A site of 8-bit codes all of whose readers are products."""

    def __init__(self, rewriting: Rewriting, item: Compressed, planes: Planes) -> None:
        super().__init__(rewriting, item)
        self._planes = planes
        self._stored: tuple[ir.Value, ir.Value] | None = None
        self.choice = Choice(pays=True, reason=REASON, speed=None)

    def run(self) -> Lowered:
        """Replace the readers; tell how each was served."""
        told = super().run()
        readers = tuple(ReadBy(each.node, each.role, "integers", each.reason) for each in told.readers)
        return Lowered(told.site, told.forms, readers, tolerance=TOLERANCE, because=BECAUSE)

    def multiply(self, builder: GraphBuilder, x: ir.Value) -> ir.Value:
        """Return `x [..., in] W^T` of a rounded x."""
        codes, scale = self._store()
        rounded, step, zero = builder.ops("DynamicQuantizeLinear", [x], 3)
        sums = builder.op("Cast", [builder.op("MatMulInteger", [rounded, codes, zero])], to=ir.DataType.FLOAT)
        return builder.op("Mul", [sums, builder.op("Mul", [step, scale])])

    def dense(self) -> ir.Value:
        """Return the decoded weight, for an output of the graph."""
        codes, scale = self._store()
        front = self.front
        weight = front.op("Mul", [front.op("Cast", [codes], to=ir.DataType.FLOAT), scale])
        shape = (self._planes.cols, len(self._planes.form.levels))
        return arranged(front, weight, self.site, shape=shape, transposed=True)

    def recurrent(self, reader: Reader) -> CodedWeight:
        """Nothing: no reader is recurrent."""
        raise NotImplementedError

    def look_up(self, builder: GraphBuilder, ids: ir.Value) -> ir.Value:
        """Nothing: no reader looks rows up."""
        raise NotImplementedError

    def _store(self) -> tuple[ir.Value, ir.Value]:
        """Return codes int8 `[in, out]` and scales `[out]`."""
        if self._stored is None:
            steps, even = whole_steps(self._planes), self._planes.even
            assert steps is not None, "asked before"
            assert even is not None
            codes: Any = np.ascontiguousarray(steps.T)
            named = partial(store_as_floats, name="scales")
            scale = self.rewriting.joint.share(self.site, "channel scales", even.scale[:, 0], named)
            self._stored = self.front.initializer("codes", codes), scale
        return self._stored
