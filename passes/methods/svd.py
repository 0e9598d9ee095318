"""Low rank by truncated SVD, with shared projections.

J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018 (arXiv 1810.12823), algorithm 3 and equation (5); the shared projection
is R. Prabhavalkar et al., On the compression of recurrent neural networks, 2016 (arXiv 1603.08042). Whitening by the
second moments of the inputs is X. Wang et al., SVD-LLM, 2024 (arXiv 2403.07378): it minimises `|W X - W' X|`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import scipy
from pydantic import Field, model_validator

from dtc.device_arrays import DeviceArray, as_type, on_host
from dtc.errors import UsageError
from dtc.forms import Array, Form, LowRank
from dtc.passes.method import DistortionStep, Method, Outcome, Skip, Weights
from dtc.passes.options import Compensation, Options, Try
from dtc.passes.solvers.spectra import Spectrum

Root = npt.NDArray[np.float64]


class SvdOptions(Compensation):
    """How the rank is chosen, and what is shared. Exactly one of the three rank options is given."""

    one_of: ClassVar[tuple[str, ...]] = ("rank", "rank_ratio", "energy")

    rank: Annotated[int | None, Try(8, 16, 32, 64, 128)] = Field(None, ge=1, description="rank of every site")
    rank_ratio: Annotated[float | None, Try(0.1, 0.2, 0.3, 0.5, first=(0.25, 0.5))] = Field(
        None, gt=0, le=1, description="rank as a share of the smaller side of a matrix"
    )
    energy: Annotated[float | None, Try(0.8, 0.9, 0.95, 0.99)] = Field(
        None, gt=0, le=1, description="smallest rank that keeps this share of the squared singular values"
    )
    shared_projection: Literal["off", "layer", "next"] = Field(
        "off",
        description="share a recurrent weight's right factor with the input weight of its own layer, or of the next",
    )

    @model_validator(mode="after")
    def _own_basis(self) -> SvdOptions:
        if self.compensate and self.shared_projection != "off":
            raise ValueError("--compensate goes with a basis of each weight's own, not with --shared-projection")
        return self


class Svd(Method):
    """Replace each matrix by its best approximation of a lower rank.

    With `--rank` or `--rank-ratio` the leading directions alone are sought in matrices of 2048 rows and columns or
    more, where the rank is an eighth of the smaller side at most: the error is within 1 % of the least. All others are
    exact.
    """

    name: ClassVar[str] = "svd"
    title: ClassVar[str] = "low rank (truncated SVD)"
    paper: ClassVar[str] = (
        "J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018 (arXiv 1810.12823), algorithm 3; shared projections are of "
        "R. Prabhavalkar et al., 2016 (arXiv 1603.08042), whitening is of X. Wang et al.: SVD-LLM, 2024 "
        "(arXiv 2403.07378)"
    )
    options_type: ClassVar[type[Options]] = SvdOptions
    example: ClassVar[Mapping[str, Any]] = {"rank_ratio": 0.25}
    on_device: ClassVar[bool] = True
    gives: ClassVar[type[Form]] = LowRank
    compensates: ClassVar[str | None] = "SVD-LLM: the matrix is whitened by the inputs' second moments before the SVD"
    options: SvdOptions

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        """Return the largest rank that pays, and what an eighth of the full rank gives."""
        break_even = _break_even(rows, cols)
        if break_even < 1:
            return "nothing to save"
        rank = max(1, min(rows, cols) // 8)
        return f"pays up to rank {break_even}; rank {rank}: {rows * cols / (rank * (rows + cols)):.1f}x"

    @property
    def by_site(self) -> bool:
        """True unless sites share a basis."""
        return self.options.shared_projection == "off"

    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        """Return factors for every site that gets smaller by them."""
        outcomes: dict[str, Outcome] = {}
        for source, users in self._sharing(weights):
            outcomes |= self._shared(source, users)
        for w in weights:
            if w.site not in outcomes:
                outcomes[w.site] = self._alone(w, at)
        return outcomes

    def foresee(self, rows: int, cols: int) -> int | Skip | None:
        """Return the bytes of two float32 factors where the rank is told, and no basis is shared."""
        rank = self._told_rank(rows, cols)
        if rank is None or self.options.shared_projection != "off":
            return None
        return 4 * rank * (rows + cols) if _saves(rank, rows, cols) else _useless(rank, rows, cols)

    def refuse_sizes(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Stop at a rank that is larger than any matrix allows.

        Raises:
            UsageError: It is.
        """
        rank, largest = self.options.rank, max(map(min, sizes), default=0)
        if rank is not None and sizes and rank > largest:
            raise UsageError(f"--rank {rank} is larger than any site allows (the largest full rank is {largest})")

    def _sharing(self, weights: Sequence[Weights]) -> Iterator[tuple[Weights, list[Weights]]]:
        """Yield each recurrent weight whose basis serves others, and the input weights that it serves.

        With `layer` it is that of its own layer: R of the first layer and W of the first; with `next` those of the
        layers that read it: R of the first layer and W of the second. Their columns and directions have to fit.
        """
        for recurrent in weights:
            layer = (recurrent.partner,) if recurrent.partner is not None else ()
            # `partner` and `feeds` are facts of the graph, which `weights_of` found.
            served = {"off": (), "layer": layer, "next": recurrent.feeds}[self.options.shared_projection]
            users = [w for w in weights if w.site in served and _fits(w, recurrent)]
            if users:
                yield recurrent, users

    def _alone(self, w: Weights, at: DistortionStep) -> Outcome:
        rows, cols = w.out_in
        told = self._told_rank(rows, cols)
        if told is not None and not _saves(told, rows, cols):
            return _useless(told, rows, cols)
        roots = self._roots(w)
        wholes = (m if root is None else _times(on_host(m), root) for m, root in zip(w.matrices, roots, strict=True))
        spectra = [Spectrum.of(m) if told is None else Spectrum.leading(m, told, at.seed) for m in wholes]
        # The matrices of one site share a shape, so that they can be lowered together.
        rank = max(self._rank(spectrum, rows, cols) for spectrum in spectra)
        if not _saves(rank, rows, cols):
            return _useless(rank, rows, cols)
        return tuple(_factors(spectrum, rank, root) for spectrum, root in zip(spectra, roots, strict=True))

    def _roots(self, w: Weights) -> list[Root | None]:
        """Return for each matrix the Cholesky factor of its inputs' second moments; None where plain SVD is meant."""
        grams = self.moments(w)
        return [None] * len(w.matrices) if grams is None else [_root(gram) for gram in grams]

    def _shared(self, source: Weights, users: list[Weights]) -> dict[str, Outcome]:
        """Equation (5): the basis comes from `source`; each user's best coefficients are `W @ basis.T`."""
        group = [source, *users]
        rows, cols = sum(w.out_in[0] for w in group), source.out_in[1]
        outcomes: dict[str, list[LowRank]] = {w.site: [] for w in group}
        for direction, matrix in enumerate(source.matrices):
            spectrum = Spectrum.of(matrix)
            # A shared basis is stored once: rank * in for it, and rank * out for each site; `rows` are the outputs of
            # all.
            rank = self._rank(spectrum, source.out_in[0], cols)
            if not _saves(rank, rows, cols):
                return {}  # each for itself: with a reason of its own
            label = f"{source.site}.basis" + (f".{direction}" if len(source.matrices) > 1 else "")
            basis = spectrum.basis(rank)
            for w in group:
                outcomes[w.site].append(_form(w.matrices[direction] @ basis.T, basis, label))
        return {site: tuple(forms) for site, forms in outcomes.items()}

    def _told_rank(self, rows: int, cols: int) -> int | None:
        """Return the rank that the options name; None where it follows from the singular values."""
        if self.options.rank is not None:
            return self.options.rank
        if self.options.rank_ratio is not None:
            return max(1, round(self.options.rank_ratio * min(rows, cols)))
        return None

    def _rank(self, spectrum: Spectrum, rows: int, cols: int) -> int:
        if (told := self._told_rank(rows, cols)) is not None:
            return told
        assert self.options.energy is not None
        # Singular values (3, 1): 9 of 10, 10 of 10. Energy 0.9 needs rank 1, which rounding must not raise to 2.
        kept = np.cumsum(spectrum.values**2)
        total = kept[-1]
        return int(np.searchsorted(kept, self.options.energy * total * (1 - 1e-12)) + 1) if total > 0 else 1


def _root(gram: Root) -> Root:
    """Return the lower Cholesky factor of second moments, damped by 1 % of their mean so that it exists."""
    damping = 0.01 * float(np.trace(gram)) / len(gram) + 1e-30
    return np.asarray(np.linalg.cholesky(gram + damping * np.eye(len(gram))))


def _times(matrix: Array, root: Root) -> Array:
    return np.asarray(matrix @ root, dtype=np.float32)


def _factors(spectrum: Spectrum, rank: int, root: Root | None) -> LowRank:
    left, right = spectrum.factors(rank)
    if root is not None:  # W S = left right, so W = left (right S^-1)
        right = scipy.linalg.solve_triangular(root, right.T.astype(np.float64), lower=True, trans="T").T
    return _form(left, right)


def _form(left: DeviceArray, right: DeviceArray, basis: str | None = None) -> LowRank:
    """Return the form of two factors, which come to host memory."""
    left, right = (as_type(on_host(factor), "float32") for factor in (left, right))
    return LowRank(left, right, basis)


def _saves(rank: int, rows: int, cols: int) -> bool:
    return rank * (rows + cols) < rows * cols


def _useless(rank: int, rows: int, cols: int) -> Skip:
    pays = _break_even(rows, cols)
    advice = f"ranks up to {pays} pay" if pays else "no rank pays"
    return Skip(f"rank {rank} saves nothing at {rows}x{cols}: {advice}")


def _break_even(rows: int, cols: int) -> int:
    """Return the largest rank whose factors are smaller than the matrix."""
    return (rows * cols - 1) // (rows + cols)


def _fits(user: Weights, source: Weights) -> bool:
    """True if a basis of each direction of `source` can be one of `user` as well."""
    return len(user.matrices) == len(source.matrices) and user.out_in[1] == source.out_in[1]
