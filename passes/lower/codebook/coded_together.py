"""Indices of small sites, Huffman coded together: one stream, decoded once, with a code for sites that are alike."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops.codebook.decode import OPSET
from dtc.forms import Codebook
from dtc.forms.huffman import MOST_ENTRIES, MOST_SYMBOLS, NODES, entropy
from dtc.forms.index_fields import Indices, bits_for, row_bytes
from dtc.graph import Site
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.codebook.huffman import decode_symbols
from dtc.passes.lower.codebook.joined_codes import JoinedCodes
from dtc.passes.lower.joint import Joint
from dtc.passes.lower.packed_numbers import store_as_numbers
from dtc.passes.lower.running_sums import SumsBefore, sums_in_front_of

_STEPS = 2
"""Codes a bit: indices of sites that take as many half bits on average have one code."""

_MOST_RANKS = 1 << 24
"""Comparisons of windows with code words that a runtime folds at load."""


def by_frequency(book: Codebook, indices: Indices) -> tuple[Codebook, Indices]:
    """Return a codebook with its entries from the most frequent on, and the indices `[count]` into that.

    A zero block, which is no entry of the table, stays the first.
    """
    counts = np.bincount(indices, minlength=book.codewords.count + book.zero)[int(book.zero) :]
    order = np.argsort(-counts, kind="stable")
    places = np.empty(len(counts), np.uint16)
    places[order] = np.arange(len(counts))
    if book.zero:
        places = np.concatenate([[np.uint16(0)], places + np.uint16(1)])
    words = replace(book.codewords, stored=book.codewords.stored[order])
    return replace(book, codewords=words), places[indices]


def share_symbols(joint: Joint, site: Site, symbols: Indices) -> ir.Value:
    """Return nodes for the symbols of a site, int32 `[count]`, decoded with those of all others."""
    bits = entropy(np.bincount(symbols))
    kind = round(_STEPS * bits)
    rows = np.stack([symbols, np.full_like(symbols, kind)], axis=1)
    sums = sums_in_front_of(site, portable=joint.portable)
    store = partial(_store, sums=sums)
    weight = max(int(bits * len(symbols)), 1)
    return joint.share(site, ("symbols", sums), rows, store, row=(), place=kind, weight=weight)


def _store(e: GraphBuilder, rows: npt.NDArray[Any], *, sums: SumsBefore) -> ir.Value:
    """Store symbols and their kinds `[count, 2]`, Huffman coded or, where that is smaller, of a fixed width a kind."""
    symbols, kinds = rows[:, 0], rows[:, 1]
    parts = np.split(symbols, np.flatnonzero(np.diff(kinds)) + 1)
    widths = [bits_for(int(part.max()) + 1) for part in parts]
    codes = _codes(parts) if e.opset >= OPSET and len(symbols) <= MOST_SYMBOLS else None
    fixed = sum(row_bytes(bits, len(part)) for bits, part in zip(widths, parts, strict=True))
    if codes is not None and codes.nbytes + NODES < fixed:
        found = decode_symbols(e, codes, len(symbols), "indices", sums)
        return e.op("Cast", [found], to=ir.DataType.INT32)
    stored = (store_as_numbers(e, part, bits, "indices") for bits, part in zip(widths, parts, strict=True))
    return e.concat([e.op("Reshape", [each, e.constant([-1])]) for each in stored], 0)


def _codes(parts: list[npt.NDArray[Any]]) -> JoinedCodes | None:
    """Return the codes of parts, or one of all where there would be too many to fold; None where there can be none."""
    if max(int(part.max()) for part in parts) >= MOST_ENTRIES:
        return None
    codes = JoinedCodes.encode(parts)
    ranks = codes.count * 2 ** int(codes.lengths.max()) * len(codes.lengths)
    return codes if ranks <= _MOST_RANKS else JoinedCodes.encode([np.concatenate(parts)])
