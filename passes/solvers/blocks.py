"""From labelled blocks to codebook forms, for the methods that make them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dtc.device_arrays import namespace
from dtc.forms import Array, Codebook, Codewords, stored_bytes
from dtc.forms.index_fields import Indices
from dtc.passes.method import Outcome, Skip, Weights


def to_blocks(matrices: npt.NDArray[Any], block: int) -> npt.NDArray[Any]:
    """Cut `[count, out, in]` into blocks along the input, `[count * out * blocks, block]`; the last ones are padded."""
    spare = -matrices.shape[2] % block
    padded = np.pad(matrices, ((0, 0), (0, 0), (0, spare))) if spare else matrices
    return np.ascontiguousarray(padded.reshape(-1, block))


def from_labels(labels: npt.NDArray[np.integer[Any]], shape: Sequence[int], block: int) -> Indices:
    """Return labels of blocks as the indices, uint16 `[count, out, blocks]`, of matrices of that shape."""
    count, rows, cols = shape
    return labels.reshape(count, rows, -(-cols // block)).astype(np.uint16, copy=False)


@dataclass(frozen=True, eq=False)
class CodedBlocks:
    """A site's indices into a table of codewords, `[count, out, blocks]`, and the other parts of its forms."""

    weights: Weights
    indices: Indices
    codewords: Codewords
    gain: np.float32 | None = None
    name: str | None = None
    mask: npt.NDArray[np.bool_] | None = None
    note: str = ""
    huffman: bool = False

    def outcome(self) -> Outcome:
        """Return the smaller of the forms with a mask and with an index for zero; a `Skip` where neither saves bytes.

        With `huffman` the indices of each are Huffman coded where that is smaller.
        """
        # Several matrices of a site share its table: the table needs a name, so that it is stored once.
        name = self.name or (f"{self.weights.site}.codewords" if len(self.indices) > 1 else None)
        coded = replace(self, name=name)
        forms = self._coded(masked_forms(coded))
        if (
            self.mask is not None
            and (zeroed := self._coded(zeroed_forms(coded)))
            and stored_bytes(zeroed) <= stored_bytes(forms)
        ):
            forms = zeroed
        # A table that other sites pay for too is not this site's to justify.
        spent = stored_bytes(forms) - (sum(forms[0].shared.values()) if self.name else 0)
        dense = 4 * math.prod(self.weights.matrices.shape)
        if spent < dense:
            return forms
        words = f"{self.codewords.count} codewords of {self.codewords.block} x {self.codewords.bits} bits"
        return Skip(f"{words} and their indices take {spent} bytes, the {dense} bytes of the weights are fewer")

    def _coded(self, forms: tuple[Codebook, ...]) -> tuple[Codebook, ...]:
        """Return the forms Huffman coded where that is smaller for all: the matrices of a site are decoded alike."""
        if not self.huffman:
            return forms
        coded = tuple(form.smaller_coded() for form in forms)
        return coded if all(form.huffman for form in coded) else forms


def masked_forms(coded: CodedBlocks) -> tuple[Codebook, ...]:
    """Return forms with the mask beside the indices, if there is one."""
    cols = coded.weights.out_in[1]
    if coded.mask is None:
        return tuple(
            Codebook(i, coded.codewords, cols, coded.gain, name=coded.name, note=coded.note) for i in coded.indices
        )
    # Of scalars the indices of pruned weights are not stored: 0 stands in for them.
    indices = np.where(coded.mask, coded.indices, np.uint16(0)) if coded.codewords.block == 1 else coded.indices
    return tuple(
        Codebook(index, coded.codewords, cols, coded.gain, mask=kept, name=coded.name, note=coded.note)
        for index, kept in zip(indices, coded.mask, strict=True)
    )


def zeroed_forms(coded: CodedBlocks) -> tuple[Codebook, ...]:
    """Return forms with an index for zero; none where a block is pruned in part, or the indices would overflow."""
    assert coded.mask is not None
    block, cols = coded.codewords.block, coded.weights.out_in[1]
    # Blocks of 2 of a row of 3: the mask (1, 1, 0) makes kept ((1, 1), (0, 0)), whole ((1, 1), (1, 0)), some (1, 0).
    # Kept is some & whole: both blocks are kept or pruned as a whole, and indices (5, 7) become (6, 0). The mask (1, 0,
    # 1) cuts a block.
    kept = to_blocks(coded.mask, block).astype(bool)
    whole = to_blocks(np.ones_like(coded.mask), block).astype(bool)
    some = np.asarray(kept.any(axis=1))
    if not np.array_equal(kept, some[:, None] & whole) or coded.codewords.count >= 2**16:
        return ()
    indices = np.where(some.reshape(coded.indices.shape), coded.indices + np.uint16(1), np.uint16(0))
    return tuple(
        Codebook(index, coded.codewords, cols, coded.gain, zero=True, name=coded.name, note=coded.note)
        for index in indices
    )


def refuse_not_finite(w: Weights) -> Skip | None:
    """Return a `Skip` for a site whose weights are not all finite; None where they are."""
    finite = namespace(w.matrices).isfinite(w.matrices)
    return None if finite.all() else Skip(f"{int((~finite).sum())} of its weights are not finite")


def previous_codewords(w: Weights, count: int, block: int) -> Array | None:
    """Return the codewords of the last distortion, `[count, block]`; None where there are none of that shape."""
    if not w.previous or not isinstance(w.previous[0], Codebook):
        return None
    values = w.previous[0].codewords.values
    return values if values.shape == (count, block) else None
