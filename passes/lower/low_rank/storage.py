"""Low rank as storage: the factors lie in the file, and the session multiplies them when it loads."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.graph.builder import GraphBuilder, insert_first
from dtc.passes.lower.decode import arranged, feed_readers
from dtc.passes.lower.low_rank.factors import FactorPart, LowRankSite, Side


def lower_to_storage(item: LowRankSite, front: GraphBuilder) -> dict[ir.Value, FactorPart]:
    """Feed the site's readers from one product of its factors, which ONNX Runtime folds to the dense weight.

    Returns the initializers of the factors, `[matrices, out, rank]` and `[matrices, rank, in]`, and what they hold.
    """
    site = item.site
    stored: dict[Side, ir.Value] = {}

    def decode() -> ir.Value:
        sides: tuple[Side, Side] = ("left", "right")
        for side in sides:
            stored[side] = front.initializer(side, np.stack([getattr(form, side) for form in item.forms]))
        left, right = stored.values()
        shape, dtype = (site.view.count, site.view.rows, site.view.cols), left.dtype or ir.DataType.FLOAT
        return arranged(front, front.op("MatMul", [left, right]), site, shape=shape, dtype=dtype)

    feed_readers(site, decode)
    insert_first(front)
    return {value: item.part(side) for side, value in stored.items()}
