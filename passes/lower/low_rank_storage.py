"""Low rank as storage: the factors lie in the file, and the session multiplies them when it loads."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.passes.lower.decode import Builder, replace_weight
from dtc.passes.lower.factors import LowRankSite


def lower_to_storage(item: LowRankSite) -> None:
    """Feed the site's readers from one product of its factors, which ONNX Runtime folds to the dense weight."""
    site = item.site
    dtype = site.value.dtype or ir.DataType.FLOAT
    permuted = [site.shape[axis] for axis in site.view.perm]

    def decode(builder: Builder) -> ir.Value:
        left, right = (
            builder.initializer(side, ir.tensor(np.stack([getattr(form, side) for form in item.forms])))
            for side in ("left", "right")
        )
        dense = builder.op("MatMul", [left, right], name="multiply")
        dense = builder.op("Reshape", [dense, builder.initializer("shape", np.array(permuted, dtype=np.int64))])
        dense = builder.op("Transpose", [dense], perm=[int(axis) for axis in np.argsort(site.view.perm)])
        return builder.op("Cast", [dense], to=int(dtype))

    replace_weight(site, decode)
