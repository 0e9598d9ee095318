"""Low rank by truncated SVD, with shared projections.

J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018 (arXiv 1810.12823), algorithm 3 and equation (5); the shared projection
is R. Prabhavalkar et al., On the compression of recurrent neural networks, 2016 (arXiv 1603.08042).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import scipy.linalg
from pydantic import Field, model_validator

from dtc.errors import UsageError
from dtc.forms import Array, LowRank
from dtc.passes.method import Method, Moment, Options, Outcome, Skip, Weights


class SvdOptions(Options):
    """How the rank is chosen, and what is shared. Exactly one of the three rank options is given."""

    rank: int | None = Field(None, ge=1, description="rank of every site")
    rank_ratio: float | None = Field(None, gt=0, le=1, description="rank as a share of the smaller side of a matrix")
    energy: float | None = Field(
        None, gt=0, le=1, description="smallest rank that keeps this share of the squared singular values"
    )
    shared_projection: Literal["off", "layer", "next"] = Field(
        "off",
        description="share a recurrent weight's right factor with the input weight of its own layer, or of the next",
    )

    @model_validator(mode="after")
    def _one_rank(self) -> SvdOptions:
        given = [name for name in ("rank", "rank_ratio", "energy") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of --rank, --rank-ratio, --energy")
        return self


class Svd(Method):
    """Replace each matrix by its best approximation of a lower rank."""

    name: ClassVar[str] = "svd"
    title: ClassVar[str] = "low rank (truncated SVD)"
    options_type: ClassVar[type[Options]] = SvdOptions
    options: SvdOptions

    def distort(self, weights: Sequence[Weights], moment: Moment = Moment()) -> dict[str, Outcome]:
        """Return factors for every site that gets smaller by them.

        Raises:
            UsageError: The rank is larger than any site allows.
        """
        self._refuse_useless_rank(weights)
        outcomes: dict[str, Outcome] = {}
        partners = _partners(weights, self.options.shared_projection)
        by_name = {w.site: w for w in weights}
        for source, users in partners.items():
            outcomes |= self._shared(by_name[source], [by_name[user] for user in users])
        for w in weights:
            if w.site not in outcomes:
                outcomes[w.site] = self._alone(w)
        return outcomes

    def _refuse_useless_rank(self, weights: Sequence[Weights]) -> None:
        rank = self.options.rank
        largest = max((min(w.out_in) for w in weights), default=0)
        if rank is not None and weights and rank > largest:
            raise UsageError(f"--rank {rank} is larger than any site allows (the largest full rank is {largest})")

    def _alone(self, w: Weights) -> Outcome:
        rows, cols = w.out_in
        spectra = [right_singular(matrix) for matrix in w.matrices]
        ranks = [self._rank(values, rows, cols) for values, _ in spectra]
        if any(rank * (rows + cols) >= rows * cols for rank in ranks):
            break_even = (rows * cols - 1) // (rows + cols)
            return Skip(f"rank {max(ranks)} saves nothing at {rows}x{cols}; it starts to pay at rank {break_even}")
        rank = max(ranks)  # the matrices of one site share a shape, so that they can be lowered together
        return tuple(
            LowRank(*_project(matrix, basis[:rank])) for matrix, (_, basis) in zip(w.matrices, spectra, strict=True)
        )

    def _shared(self, source: Weights, users: list[Weights]) -> dict[str, Outcome]:
        """Equation (5): the basis comes from `source`; each user's best coefficients are `W @ basis.T`."""
        group = [source, *users]
        rows, cols = sum(w.out_in[0] for w in group), source.out_in[1]
        outcomes: dict[str, list[LowRank]] = {w.site: [] for w in group}
        for direction, matrix in enumerate(source.matrices):
            values, basis = right_singular(matrix)
            rank = self._rank(values, source.out_in[0], cols)
            if rank * (rows + cols) >= rows * cols:
                return {}  # each for itself: with a reason of its own
            label = f"{source.site}.basis" + (f".{direction}" if len(source.matrices) > 1 else "")
            for w in group:
                left, right = _project(w.matrices[direction], basis[:rank])
                outcomes[w.site].append(LowRank(left, right, basis=label))
        return {site: tuple(forms) for site, forms in outcomes.items()}

    def _rank(self, values: npt.NDArray[np.float64], rows: int, cols: int) -> int:
        if self.options.rank is not None:
            return self.options.rank
        if self.options.rank_ratio is not None:
            return max(1, round(self.options.rank_ratio * min(rows, cols)))
        assert self.options.energy is not None
        kept = np.cumsum(values**2)
        total = kept[-1]
        return int(np.searchsorted(kept, self.options.energy * total * (1 - 1e-12)) + 1) if total > 0 else 1


def right_singular(matrix: Array) -> tuple[npt.NDArray[np.float64], Array]:
    """Return all singular values in falling order, and the right singular vectors `[min(out, in), in]`.

    Through the eigenvectors of the smaller Gram matrix in float64: several times faster than an SVD of the whole
    matrix, and as exact as float32 weights can tell.
    """
    wide = matrix.astype(np.float64)
    rows, cols = wide.shape
    gram = wide.T @ wide if cols <= rows else wide @ wide.T
    eigenvalues, vectors = scipy.linalg.eigh(gram, driver="evd", overwrite_a=True)
    order = np.argsort(eigenvalues)[::-1]
    values = np.sqrt(np.maximum(eigenvalues[order], 0.0))
    basis = vectors[:, order].T
    if cols > rows:
        # Below the resolution of the Gram matrix a direction is noise; zeros are as good and finite.
        inverse = np.where(values > values[0] * 1e-7, 1.0 / np.maximum(values, np.finfo(np.float64).tiny), 0.0)
        basis = (basis @ wide) * inverse[:, None]
    return values, np.asarray(basis, dtype=np.float32)


def _project(matrix: Array, basis: Array) -> tuple[Array, Array]:
    """Return `(W basis^T, basis)`: the best coefficients for orthonormal rows of `basis`."""
    return np.ascontiguousarray(matrix @ basis.T), np.ascontiguousarray(basis)


def _partners(weights: Sequence[Weights], reading: str) -> dict[str, list[str]]:
    """Return which sites take their basis from which recurrent weight."""
    pairs: dict[str, list[str]] = {}
    for recurrent in weights:
        if reading == "off" or not recurrent.role.endswith(".R"):
            continue
        family = recurrent.role.removesuffix(".R") + ".W"
        for w in weights:
            same_layer = reading == "layer" and w.node == recurrent.node
            next_layer = reading == "next" and w.site in recurrent.feeds
            fits = w.matrices.shape[0] == recurrent.matrices.shape[0] and w.out_in[1] == recurrent.out_in[1]
            if w.role == family and (same_layer or next_layer) and fits:
                pairs.setdefault(recurrent.site, []).append(w.site)
    return pairs
