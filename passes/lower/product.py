"""Lowering of a product of coded factors: low rank first, then each factor in its own form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from dtc.errors import ModelError
from dtc.forms import Array, Form, LowRank
from dtc.forms.composite import Product
from dtc.graph import Role, Site, find_sites
from dtc.passes.lower import Compressed, Mode, low_rank, lower_items

KIND = Product.kind

_INPUT = frozenset({Role.LSTM_INPUT, Role.GRU_INPUT})


def refuse(site: Site) -> str | None:
    """Return why `site` cannot be lowered to coded factors, naming the node; None if it can."""
    for reader in site.readers:
        if reader.role is Role.GRU_RECURRENT:
            return (
                f"node {reader.node_name!r}: the left factor of a GRU's recurrent weight is split by gates, which "
                "codes are not; use svd alone for it"
            )
        if reader.role in _INPUT and site.view.count > 1:
            return (
                f"node {reader.node_name!r}: the factors of a bidirectional input weight lie in blocks, which are not "
                "coded; use svd alone for it"
            )
    return low_rank.refuse(site)


def lower(model: ir.Model, items: Sequence[Compressed], mode: Mode = "compute") -> None:
    """Replace the sites by their factors, in place, and the factors by their own forms.

    Raises:
        ModelError: A factor is laid out in a way that its form cannot be lowered to.
    """
    wanted: dict[bytes, tuple[Form, ...]] = {}
    plain: list[Compressed] = []
    for item in items:
        products = [form for form in item.forms if isinstance(form, Product)]
        for side in ("left", "right"):
            forms = tuple(getattr(product, side) for product in products)
            wanted[_key(np.stack([form.dense() for form in forms]))] = forms
            wanted |= {_key(form.dense()[None]): (form,) for form in forms}
        factors = tuple(LowRank(product.left.dense(), product.right_dense()) for product in products)
        plain.append(Compressed(item.site, factors))
    before = {site.name for site in find_sites(model)}
    # Factors that are coded stand in a Scan: the recurrent operators take dense ones.
    low_rank.lower(model, plain, "standard" if mode == "compute" else mode)
    factors_found = [site for site in find_sites(model) if site.name not in before]
    coded = [Compressed(site, wanted[key]) for site in factors_found if (key := _key(site.matrices())) in wanted]
    lost = {site.name for site in factors_found} - {each.site.name for each in coded}
    if lost or (items and not coded):
        raise ModelError(f"the factors {', '.join(sorted(lost))} cannot be coded where they stand; use svd alone")
    lower_items(model, coded, mode)


def _key(matrices: Array) -> bytes:
    """A factor is known by what it holds: low-rank lowering names and places it as its readers like best."""
    return repr(matrices.shape).encode() + np.ascontiguousarray(matrices).tobytes()
