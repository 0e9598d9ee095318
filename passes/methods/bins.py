"""Bin & Quant: bins of weights, split where the model is most sensitive.

S. Sakthi, P. Pawate, A. Tewfik, Compressing deep neural networks by bins and quantization (ICASSP 2020), and
S. Sakthi, R. Yadla, P. Pawate, 2022 (arXiv 2210.05111). Theirs: the first edges, the perturbation of one bin at a time,
the split at the middle. Ours: half-open bins, means as representatives, a perturbation of both signs, and one list of
bins for all sites, so that the next split goes where it buys most for the bits that it adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from dtc.errors import UsageError
from dtc.forms import Codebook, Codewords, Form
from dtc.passes.method import DistortionStep, Method, Need, Outcome, Probe, Weights
from dtc.passes.options import Huffman, Options, Share, Try
from dtc.passes.solvers.binning import FIRST_BINS, Bins, Member, split_best
from dtc.passes.solvers.blocks import CodedBlocks, from_labels, refuse_not_finite
from dtc.passes.solvers.clustering import Points, assign

_SPARSE = 0.05
"""Share of exact zeros from which zero has a bin of its own."""


class BinsOptions(Options):
    """Where bins are split, and when that ends."""

    bins: Annotated[int, Try(4, 8, 16, 64)] = Field(16, ge=4, le=4096, description="most bins of a site")
    perturb: float = Field(0.2, gt=0, le=1, description="share by which a bin's weights are moved, up and down")
    split_until: Annotated[float | None, Try(0.05, 0.02, 0.01, 0.005)] = Field(
        None,
        ge=0,
        description="stop splitting once the model is at most this much worse, in cross-entropy where labels are class "
        "numbers, else in the squared error of its outputs relative to them; needs --data",
    )
    max_bits: Annotated[float | None, Try(2, 3, 4, 6)] = Field(
        None, gt=0, le=16, description="stop splitting at this many index bits a weight, on average"
    )
    representative: Literal["mean", "midpoint"] = Field("mean", description="what stands for the weights of a bin")
    huffman: Huffman = False
    share: Share = False


class BinAndQuant(Method):
    """Replace each weight by the representative of its bin."""

    name: ClassVar[str] = "bins"
    title: ClassVar[str] = "bins (Bin & Quant)"
    paper: ClassVar[str] = (
        "S. Sakthi, P. Pawate, A. Tewfik: Compressing deep neural networks by bins and quantization, ICASSP 2020; "
        "S. Sakthi, R. Yadla, P. Pawate, 2022 (arXiv 2210.05111)"
    )
    options_type: ClassVar[type[Options]] = BinsOptions
    example: ClassVar[Mapping[str, Any]] = {"bins": 8}
    gives: ClassVar[type[Form]] = Codebook
    heeds_mask: ClassVar[bool] = True
    needs: frozenset[Need] = frozenset({"probe", "previous"})
    options: BinsOptions

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        """Return what sixteen bins give."""
        ratio = rows * cols * 4 / (rows * -(-cols // 2) + 16 * 4)
        return f"16 bins: {ratio:.1f}x" if ratio > 1 else "16 bins are more than its weights"

    @property
    def by_site(self) -> bool:
        """True unless sites share bins, or bits are divided among them."""
        return not self.options.share and self.options.max_bits is None and self.options.split_until is None

    def probes(self, sites: int) -> int:
        """Return how often the model is run for so many sites, at the most: twice for each bin that is measured."""
        lists, splits = 1 if self.options.share else sites, max(self.options.bins - FIRST_BINS, 0)
        scored = 1 + lists * splits if self.options.split_until is not None else 0
        return 1 + 2 * lists * (FIRST_BINS + 2 * splits) + scored

    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        """Return forms for every site that gets smaller by them.

        A site that was distorted before keeps its bins: each weight goes to the nearest representative, so that
        distorting twice changes nothing. Without a probe a bin is as sensitive as its squared error is large.

        Raises:
            UsageError: A limit to the drop is given, and the model is neither evaluated nor retrained.
        """
        if self.options.split_until is not None and at.probe is None and not at.steps:
            raise UsageError("--split-until needs a run of the model to measure: give --data, or leave it out")
        # 1. Not finite: left alone. 2. Binned before: nearest representatives. 3. All others: bins, split until a
        # limit.
        outcomes: dict[str, Outcome] = {w.site: refused for w in weights if (refused := refuse_not_finite(w))}
        sites = [_sparse_as_mask(w) for w in weights if w.site not in outcomes]
        outcomes |= {w.site: self._outcome(_again(w)) for w in sites if _was_binned(w)}
        fresh = [Member.of(w, scaled=self.options.share) for w in sites if w.site not in outcomes]
        # One list of bins for all sites, or one for each; `split_best` compares lists, so bits go where they buy most.
        groups = [fresh] if self.options.share and fresh else [[member] for member in fresh]
        lists = [Bins.start(members, self.options.representative) for members in groups]
        for bins in split_best(lists, self.options, at.probe):
            outcomes |= {coded.weights.site: self._outcome(coded) for coded in _coded(bins, at.probe)}
        return outcomes

    def _outcome(self, coded: CodedBlocks) -> Outcome:
        return replace(coded, huffman=self.options.huffman).outcome()


def _coded(bins: Bins, probe: Probe | None) -> list[CodedBlocks]:
    """Return the members' weights as indices of the bins that are not empty."""
    filled = np.flatnonzero(bins.counts())
    table = bins.representatives()
    codewords = Codewords.encode((table[filled] if filled.size else table[:1])[:, None], 32)
    shared = len(bins.members) > 1
    note = "by squared error" if probe is None else "by sensitivity"
    coded = []
    for member in bins.members:
        w = member.weights
        # Bins 0, 2 and 3 filled: labels (0, 2, 3) become indices (0, 1, 2) by their places among the filled ones.
        places = np.minimum(np.searchsorted(filled, np.arange(len(table))), max(len(filled) - 1, 0)).astype(np.uint16)
        found = places[bins.labels(member)]
        indices = found.reshape(w.matrices.shape) if w.mask is None else np.zeros(w.matrices.shape, np.uint16)
        if w.mask is not None:
            indices[w.mask] = found
        gain = member.gain if shared else None
        coded.append(CodedBlocks(w, indices, codewords, gain, "bins.codewords" if shared else None, w.mask, note))
    return coded


def _was_binned(w: Weights) -> bool:
    return bool(w.previous) and all(isinstance(form, Codebook) and form.block == 1 for form in w.previous or ())


def _again(w: Weights) -> CodedBlocks:
    """Return the weights at the nearest representatives of the last distortion."""
    form = (w.previous or ())[0]
    assert isinstance(form, Codebook)
    values = form.codewords.values if form.gain is None else form.codewords.values * form.gain
    labels, _ = assign(Points(w.matrices.reshape(-1, 1)), values)
    indices = from_labels(labels, w.matrices.shape, 1)
    # The site's own table has the site's name again.
    name = form.name if form.gain is not None else None
    return CodedBlocks(w, indices, form.codewords, form.gain, name, w.mask, form.note)


def _sparse_as_mask(w: Weights) -> Weights:
    """Return the site with its zeros as pruned, where they are too many to share a bin."""
    kept = w.matrices != 0
    if w.mask is not None or kept.mean() > 1 - _SPARSE:
        return w
    return replace(w, mask=kept)
