"""Lowering of a product of coded factors: low rank first, then each factor in its own form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from dtc.forms import LowRank
from dtc.forms.composite import Product
from dtc.graph import Site, site_of
from dtc.passes.lower.decode import dense_site
from dtc.passes.lower.kinds import FormKind
from dtc.passes.lower.low_rank import KIND as LOW_RANK
from dtc.passes.lower.low_rank.factors import FactorPart, LowRankSite
from dtc.passes.lower.low_rank.lowering import Factored, low_rank_forms, lower_to_factors
from dtc.passes.lower.lowered import Compressed, Lowered
from dtc.passes.lower.lowering import lower_items
from dtc.passes.lower.rewriting import Rewriting


def lower(rewriting: Rewriting, items: Sequence[Compressed]) -> list[Lowered]:
    """Replace the sites by their factors, in place, and the factors by their own forms.

    Sites that are low rank alone are lowered with them: the weights of one node may be of both kinds.
    """
    given = {item.site.name: item for item in items}
    found = lower_to_factors(rewriting, [_factored(item) for item in items])
    return [_coded(rewriting, each, given[each.lowered.site.name]) for each in found]


def _factored(item: Compressed) -> LowRankSite:
    """Return a site with dense factors, which stand in the graph until they are coded."""
    products = _products(item)
    if not products:
        return LowRankSite(item.site, low_rank_forms(item.site, item.forms))
    dense = tuple(LowRank(product.left.dense(), product.right_dense()) for product in products)
    return LowRankSite(item.site, low_rank_forms(item.site, dense), coded=True)


def _coded(rewriting: Rewriting, factored: Factored, item: Compressed) -> Lowered:
    """Lower the factors of a site to their forms; return how the site stands in the graph then."""
    products = _products(item)
    if not products:
        return factored.lowered
    # Both factors were stored dense, so that one lowering of low rank serves all. Now each of these initializers
    # becomes a site of its own and is replaced by its form.
    parts = [_coded_part(value, part, products) for value, part in factored.parts.items()]
    for part in parts:
        rewriting.ledger.belongs(part.site, item.site)
    inner = lower_items(rewriting, parts)
    return replace(
        factored.lowered,
        forms=item.forms,
        caveats=tuple(dict.fromkeys(caveat for each in inner for caveat in each.caveats)),
        tolerance=max((each.tolerance for each in inner if each.tolerance is not None), default=None),
    )


def _products(item: Compressed) -> list[Product]:
    return [form for form in item.forms if isinstance(form, Product)]


def _coded_part(value: ir.Value, part: FactorPart, products: Sequence[Product]) -> Compressed:
    """Return a stored part of the factors as a site, with the forms of the matrices or rows that it holds."""
    forms = tuple(getattr(products[matrix], part.side) for matrix in part.matrices)
    if part.rows is not None:
        forms = tuple(form.rows(*part.rows) for form in forms)
    # The form may be of the factor's transpose, and the factor may be stored transposed: both together cancel out.
    transposed = part.transposed != (part.side == "right" and products[0].turned)
    site = site_of(value) if part.as_read else _part_site(value, transposed=transposed)
    assert site is not None, "a factor is read"
    return Compressed(site, forms)


def _part_site(value: ir.Value, *, transposed: bool) -> Site:
    """Return an initializer as the site that its readers make it, or as one that they need dense.

    The latter where they read other matrices than those of its form.
    """
    assert value.const_value is not None
    # [..., rows, cols], or with the last two axes exchanged, is how the form's matrices lie in the initializer.
    perm = tuple(range(len(value.const_value.shape)))
    if transposed:
        perm = (*perm[:-2], perm[-1], perm[-2])
    site = site_of(value)
    return site if site is not None and site.view.perm == perm else dense_site(value, perm)


KIND = FormKind(form=Product, lower=lower, refuse=LOW_RANK.refuse, parts=lambda form: (form.left, form.right))
