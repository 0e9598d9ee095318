"""Codebooks of small sites that nothing reads but decoding nodes, from operator set 7 on.

Indices of all sites are decoded at once: with a codebook in common into codewords, else into numbers that each site
looks up in its own. Scalars are stored in the order of the initializer, which spares a Transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.forms import Codebook, Codewords, Form
from dtc.forms.index_fields import bits_for
from dtc.graph import Site
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.codebook.coded_together import by_frequency, share_symbols
from dtc.passes.lower.codebook.tables import store_codewords, with_zero
from dtc.passes.lower.decode import arranged, in_place
from dtc.passes.lower.joint import LARGEST, Joint
from dtc.passes.lower.packed_numbers import store_as_floats, store_as_numbers, store_as_rows


def decode_together(joint: Joint, front: GraphBuilder, site: Site, forms: Sequence[Form]) -> ir.Value | None:
    """Return the dense weight, in the initializer's own shape and type; None where it is decoded otherwise."""
    books = [form for form in forms if isinstance(form, Codebook)]
    book = books[0]
    if site.size > LARGEST or book.mask is not None:
        return None
    view, wanted = site.view, site.value.dtype or ir.DataType.FLOAT
    indices = np.stack([each.indices for each in books])
    if book.block == 1:
        blocks = _codewords(joint, front, site, book, in_place(site, indices).reshape(-1))
        weight = front.op("Reshape", [blocks, front.constant(site.shape)])
        return weight if wanted == ir.DataType.FLOAT else front.op("Cast", [weight], to=wanted)
    blocks = _codewords(joint, front, site, book, indices.reshape(-1))
    rows, width = view.count * view.rows, indices.shape[2] * book.block
    if width != book.columns:
        matrix = front.op("Reshape", [blocks, front.constant([rows, width])])
        return arranged(front, front.slice(matrix, 0, book.columns, axis=1), site, shape=(rows, book.columns))
    return arranged(front, blocks, site)


def _codewords(
    joint: Joint, front: GraphBuilder, site: Site, book: Codebook, indices: npt.NDArray[np.uint16]
) -> ir.Value:
    """Return the codewords of indices `[count]`, float, the elements of `[count, block]`."""
    bits = bits_for(book.codewords.count + book.zero)
    if book.name is None and book.huffman:
        book, symbols = by_frequency(book, indices)
        return front.op("Gather", [_own_table(joint, front, site, book), share_symbols(joint, site, symbols)])
    if book.name is None:
        store = partial(store_as_numbers, bits=bits, name="indices")
        numbers = joint.share(site, ("numbers", bits), indices, store, row=())
        return front.op("Gather", [_own_table(joint, front, site, book), numbers])
    # The gain of a site comes behind: codewords times gain, which a zero block does not change.
    words = book.codewords
    key = ("codewords", book.name, words.grid, words.stored.tobytes(), bits, book.zero)
    store = partial(_store_codewords, book=book, bits=bits)
    blocks = joint.share(site, key, indices, store, row=(book.block,))
    return blocks if book.gain is None else front.op("Mul", [blocks, _gain(joint, site, book.gain)])


def _store_codewords(e: GraphBuilder, indices: npt.NDArray[Any], *, book: Codebook, bits: int) -> ir.Value:
    return store_as_rows(e, indices, bits, "indices", with_zero(e, store_codewords(e, book), book), book.block)


def _own_table(joint: Joint, front: GraphBuilder, site: Site, book: Codebook) -> ir.Value:
    words = book.codewords
    key = ("table", words.bits, words.block)
    if words.grid is None:
        table = joint.share(site, key, words.stored, partial(store_as_floats, name="codewords"))
    else:
        levels = joint.share(site, key, words.stored, _store_levels(words))
        table = front.op("Mul", [levels, front.constant(words.grid.step)])
        table = front.op("Add", [table, front.constant(words.grid.low)])
    if book.gain is not None:
        table = front.op("Mul", [table, _gain(joint, site, book.gain)])
    return with_zero(front, table, book)


def _store_levels(words: Codewords) -> Any:
    """Return what stores levels of a grid `[count, block]`, and returns them as floats."""

    def store(e: GraphBuilder, levels: npt.NDArray[Any]) -> ir.Value:
        numbers = store_as_numbers(e, levels.reshape(-1), words.bits, "codewords", ir.DataType.FLOAT)
        return e.op("Reshape", [numbers, e.constant([-1, words.block])])

    return store


def _gain(joint: Joint, site: Site, gain: np.float32) -> ir.Value:
    return joint.share(site, ("gain",), np.array([gain], dtype=np.float32), partial(store_as_floats, name="gain"))
