"""Lowering of a product of coded factors: low rank first, then each factor in its own form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from dtc.errors import ModelError
from dtc.forms import Array, Form, LowRank
from dtc.forms.composite import Product
from dtc.graph import Role, Site, find_sites
from dtc.passes.lower import Compressed, Mode, lower_items
from dtc.passes.lower.decode import dense_site
from dtc.passes.lower.low_rank import lowering as low_rank
from dtc.passes.lower.low_rank.factors import LowRankSite

KIND = Product.kind


def refuse(site: Site) -> str | None:
    """Return why `site` cannot be lowered to coded factors, naming the node; None if it can."""
    return low_rank.refuse(site)


def lower(model: ir.Model, items: Sequence[Compressed], mode: Mode = "compute") -> None:
    """Replace the sites by their factors, in place, and the factors by their own forms.

    Sites that are low rank alone are lowered with them: the weights of one node may be of both kinds.

    Raises:
        ModelError: A factor is laid out in a way that its form cannot be lowered to.
    """
    wanted: dict[bytes, tuple[Form, ...]] = {}
    factors: list[LowRankSite] = []
    for item in items:
        if isinstance(item.forms[0], LowRank):
            factors.append(LowRankSite(item.site, low_rank.low_rank_forms(item.site, item.forms)))
            continue
        products = [form for form in item.forms if isinstance(form, Product)]
        for forms in _parts(item.site, products):
            wanted[_key(np.stack([form.dense() for form in forms]))] = forms
        dense = tuple(LowRank(product.left.dense(), product.right_dense()) for product in products)
        factors.append(LowRankSite(item.site, low_rank.low_rank_forms(item.site, dense), coded=True))
    stored = low_rank.lower_to_factors(model, factors, mode)
    sites = {site.value: site for site in find_sites(model)}
    coded = [_coded(value, array, sites.get(value), wanted) for value, array in stored.items()]
    lower_items(model, coded, mode)


def _parts(site: Site, products: Sequence[Product]) -> Iterator[tuple[Form, ...]]:
    """Yield the forms of whatever a low-rank site stores as one: a side, that of one matrix, or the gates of a part."""
    for side in ("left", "right"):
        forms = tuple(getattr(product, side) for product in products)
        yield forms
        yield from ((form,) for form in forms)
    if site.role is Role.GRU_RECURRENT:  # of h the gates z and r are made first, and the candidate of what r leaves
        for left in (product.left for product in products):
            gates, hidden = 2 * left.shape[0] // 3, left.shape[0]
            yield (left.rows(0, gates),)
            yield (left.rows(gates, hidden),)


def _coded(value: ir.Value, array: Array, site: Site | None, wanted: dict[bytes, tuple[Form, ...]]) -> Compressed:
    """Return a stored factor with its form: as a site, or to be decoded where it is none, or one of other rows."""
    upright = tuple(range(array.ndim))
    turned = (*upright[:-2], upright[-1], upright[-2])
    for each in (site, dense_site(value, upright), dense_site(value, turned)):
        forms = wanted.get(_key(each.matrices(array))) if each is not None else None
        if each is not None and forms is not None:
            return Compressed(each, forms)
    raise ModelError(f"the factor {value.name} cannot be coded where it stands; use svd alone")


def _key(matrices: Array) -> bytes:
    """A factor is known by what it holds: low-rank lowering names and places it as its readers like best."""
    return repr(matrices.shape).encode() + np.ascontiguousarray(matrices).tobytes()
