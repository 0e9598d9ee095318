"""Low rank as storage: the factors lie in the file, and the session multiplies them when it loads."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.forms import Array
from dtc.graph.builder import Shared, insert_first
from dtc.passes.lower.decode import arranged, feed_readers
from dtc.passes.lower.low_rank.factors import LowRankSite


def lower_to_storage(item: LowRankSite, shared: Shared) -> dict[ir.Value, Array]:
    """Feed the site's readers from one product of its factors, which ONNX Runtime folds to the dense weight.

    Returns the initializers of the factors, `[matrices, out, rank]` and `[matrices, rank, in]`.
    """
    site, graph = item.site, item.site.value.graph
    assert isinstance(graph, ir.Graph)
    front = shared.builder(site.name, graph)

    stored: dict[ir.Value, Array] = {}

    def decode() -> ir.Value:
        for side in ("left", "right"):
            array = np.stack([getattr(form, side) for form in item.forms])
            stored[front.initializer(side, array)] = array
        left, right = stored
        shape, dtype = (site.view.count, site.view.rows, site.view.cols), left.dtype or ir.DataType.FLOAT
        return arranged(front, front.op("MatMul", [left, right]), site, shape=shape, dtype=dtype)

    feed_readers(site, decode)
    insert_first(front)
    return stored
