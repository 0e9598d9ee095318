"""Magnitude pruning: without masks, or, to compare with, with masks that stay.

J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018 (arXiv 1810.12823), algorithm 1 and equation (1): the smallest weights
become zero at each distortion, and may come back after. M. Zhu, S. Gupta: To prune, or not to prune, 2017
(arXiv 1710.01878): what is pruned stays pruned.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field, field_validator, model_validator

from dtc.device_arrays import DeviceArray, beside, namespace, on_host
from dtc.errors import ModelError, UsageError
from dtc.forms import Array, Form
from dtc.forms.sparse import Sparse, smallest_cost
from dtc.passes.method import DistortionStep, Grams, Method, Need, Outcome, Skip, Weights
from dtc.passes.options import Compensation, Options, Try
from dtc.passes.solvers.compensated_pruning import by_groups, by_share, prune_and_compensate
from dtc.passes.solvers.pruning_schedule import Point, PruningSchedule
from dtc.passes.solvers.selection import Bools, keep_largest, keep_lines, keep_n_of_m

_Step = Annotated[str, BeforeValidator(lambda given: str(given) if isinstance(given, int) else given)]


class PruneOptions(Compensation):
    """How much is pruned, in what pattern, and when."""

    one_of: ClassVar[tuple[str, ...]] = ("sparsity", "pattern")

    sparsity: Annotated[float | None, Try(0.95, 0.9, 0.8, 0.6, first=(0.8, 0.6))] = Field(
        None, gt=0, lt=1, description="share of the weights that become zero"
    )
    pattern: Annotated[str | None, Try("1:4", "2:4")] = Field(
        None, description="n:m, keep n of each m consecutive weights of a row, such as 2:4"
    )
    structure: Literal["element", "row", "column"] = Field(
        "element", description="what is pruned: single weights, or whole rows (outputs) or columns (inputs) by L2 norm"
    )
    scope: Literal["site", "global"] = Field(
        "site", description="site: the same sparsity in each matrix; global: the smallest weights of all sites together"
    )
    initial_sparsity: float = Field(0.0, ge=0, lt=1, description="sparsity at the begin step of a gradual run")
    begin_step: _Step = Field("0", description="nothing is pruned before: a step, or a share of the run such as 40%")
    end_step: _Step = Field("50%", description="from here on the full sparsity: a step, or a share of the run")
    exponent: float = Field(3.0, gt=0, description="how fast a gradual run prunes at first")
    value_type: Literal["float32", "float16"] = Field("float32", description="how the values that stay are stored")

    @field_validator("begin_step", "end_step")
    @classmethod
    def _is_point(cls, text: str) -> str:
        Point.of(text)
        return text

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, text: str | None) -> str | None:
        if text is not None:
            _n_m(text)
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> PruneOptions:
        if self.structure != "element" and (self.pattern is not None or self.compensate):
            raise ValueError("--structure row or column goes with neither --pattern nor --compensate")
        if self.scope == "global" and (self.pattern is not None or self.compensate or self.structure != "element"):
            raise ValueError("--scope global compares single weights: not with --pattern, --compensate, --structure")
        return self


class Prune(Method):
    """Make the smallest weights zero; nothing keeps them zero until the next distortion."""

    name: ClassVar[str] = "prune"
    title: ClassVar[str] = "magnitude pruning"
    paper: ClassVar[str] = (
        "J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018 (arXiv 1810.12823), algorithm 1; the gradual schedule is of "
        "M. Zhu, S. Gupta: To prune, or not to prune, 2017 (arXiv 1710.01878)"
    )
    options_type: ClassVar[type[Options]] = PruneOptions
    example: ClassVar[Mapping[str, Any]] = {"sparsity": 0.8}
    on_device: ClassVar[bool] = True
    gives: ClassVar[type[Form]] = Sparse
    heeds_mask: ClassVar[bool] = True
    compensates: ClassVar[str | None] = (
        "SparseGPT: weights that stay make up for those that go; wants several samples for each input"
    )
    options: PruneOptions

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        """Return what 50, 90 and 98 % of zeros give."""
        ratios = [
            (p, 4 * rows * cols / smallest_cost(rows, cols, round((1 - p) * rows * cols))) for p in (0.5, 0.9, 0.98)
        ]
        return ", ".join(f"{100 * p:.0f} %: {ratio:.1f}x" for p, ratio in ratios if ratio > 1) or "nothing to save"

    @property
    def compensating(self) -> bool:
        """True unless whole rows or columns go, or the weights of all sites are compared with each other."""
        return super().compensating and self.options.structure == "element" and self.options.scope != "global"

    @property
    def by_site(self) -> bool:
        """True unless the weights of all sites are compared with each other."""
        return self.options.scope == "site"

    def at_full_strength(self, at: DistortionStep) -> bool:
        """True once the schedule has reached its final sparsity."""
        return self._schedule().at_full_strength(at)

    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        """Return the sparse form of every site; before the schedule begins, one of all weights.

        In the middle of a gradual run a form may be larger than the dense weight; at the final sparsity such a site
        is left alone.

        Raises:
            ModelError: A weight is not finite.
            UsageError: The schedule does not fit the run, or `--compensate` has no samples to work with.
        """
        for w in weights:
            if not namespace(w.matrices).isfinite(w.matrices).all():
                raise ModelError(f"weight {w.site!r} holds NaN or infinity; it cannot be pruned")
        sparsity = self._schedule().sparsity(at)
        if sparsity is None:
            return {w.site: tuple(Sparse.whole(on_host(matrix)) for matrix in w.matrices) for w in weights}
        at_full_strength = self._schedule().at_full_strength(at)
        # Pruned before, or by an earlier method: zero now, and so among the smallest that are chosen.
        starts = {w.site: w.matrices if (kept := self._kept(w)) is None else _masked(w.matrices, kept) for w in weights}
        pruned = self._prune(weights, starts, sparsity)
        return {w.site: self._outcome(w, pruned[w.site], at_full_strength) for w in weights}

    def _kept(self, w: Weights) -> Bools | None:
        """Return the weights that an earlier method has left, bool `[count, out, in]`; None: all of them."""
        return w.mask

    def _prune(self, weights: Sequence[Weights], starts: Mapping[str, Array], sparsity: float) -> dict[str, Array]:
        if self.options.scope == "global":
            return _prune_together(starts, sparsity)
        return {w.site: self._prune_one(w, starts[w.site], sparsity) for w in weights}

    def _prune_one(self, w: Weights, matrices: Array, sparsity: float) -> Array:
        grams = self.moments(w)
        if grams is not None:
            return self._compensated(on_host(matrices), grams, self._kept(w), sparsity)
        pruned = np.zeros(tuple(matrices.shape), np.float32)
        for matrix, rest in zip(matrices, pruned, strict=True):
            np.copyto(rest, on_host(matrix), where=on_host(self._choose(matrix, sparsity)))
        return pruned

    def _compensated(self, matrices: Array, grams: Grams, kept: Bools | None, sparsity: float) -> Array:
        n_m = _n_m(self.options.pattern) if self.options.pattern else None
        choose, unit = by_groups(*n_m) if n_m else by_share(sparsity)
        masked = [None] * len(matrices) if kept is None else list(~kept)
        parts = zip(matrices, grams, masked, strict=True)
        return np.stack([prune_and_compensate(matrix, gram, choose, unit, gone) for matrix, gram, gone in parts])

    def _choose(self, matrix: DeviceArray, sparsity: float) -> DeviceArray:
        """Return which weights stay; single ones are chosen where the matrix lies."""
        if self.options.structure == "element" and self.options.pattern is None:
            return keep_largest(abs(matrix), round(sparsity * math.prod(matrix.shape)))
        return self._choose_lines(on_host(matrix), sparsity)

    def _choose_lines(self, matrix: Array, sparsity: float) -> Bools:
        if self.options.pattern is not None:
            return keep_n_of_m(np.abs(matrix), *_n_m(self.options.pattern))
        axis = 0 if self.options.structure == "row" else 1
        return keep_lines(matrix, round(sparsity * matrix.shape[axis]), axis)

    def _outcome(self, w: Weights, pruned: Array, at_full_strength: bool) -> Outcome:  # noqa: FBT001
        try:
            forms = tuple(Sparse.of(matrix, self.options.value_type) for matrix in pruned)
        except ValueError as error:
            raise UsageError(f"--value-type {self.options.value_type}, weight {w.site!r}: {error}") from error
        stored = sum(form.nbytes for form in forms)
        if at_full_strength and stored >= w.matrices.nbytes:
            zeros = 100 * (1 - np.count_nonzero(pruned) / pruned.size)
            return Skip(f"{stored} bytes stored against {w.matrices.nbytes} dense: {zeros:.3g} % of zeros save nothing")
        return forms

    def _schedule(self) -> PruningSchedule:
        given = self.options
        final = given.sparsity if given.sparsity is not None else 0.0
        return PruningSchedule(
            given.initial_sparsity, final, Point.of(given.begin_step), Point.of(given.end_step), given.exponent
        )


class PruneMasked(Prune):
    """Make the smallest weights zero, and keep them so: gradual pruning as it was before DeepTwist, to compare with."""

    name: ClassVar[str] = "prune-masked"
    title: ClassVar[str] = "magnitude pruning with a mask that stays"
    paper: ClassVar[str] = "M. Zhu, S. Gupta: To prune, or not to prune, 2017 (arXiv 1710.01878)"
    keeps_mask: ClassVar[bool] = True
    needs: frozenset[Need] = frozenset({"previous"})

    def _kept(self, w: Weights) -> Bools | None:
        if w.previous is None:
            return w.mask
        kept = np.stack([form.kept() if isinstance(form, Sparse) else form.dense() != 0 for form in w.previous])
        return kept if w.mask is None else kept & w.mask


def _masked(weights: DeviceArray, kept: DeviceArray) -> DeviceArray:
    """Return weights that are zero where they are not kept, where they lie."""
    lib = namespace(weights)
    return lib.where(beside(kept, weights), weights, lib.zeros_like(weights))


def _prune_together(given: Mapping[str, DeviceArray], sparsity: float) -> dict[str, Array]:
    """Prune the smallest weights of all sites; of equal ones, those of the first site first."""
    if not given:
        return {}
    matrices = {site: on_host(stack) for site, stack in given.items()}
    magnitudes = np.concatenate([np.abs(stack).reshape(-1) for stack in matrices.values()])
    # One threshold over the weights of all sites, one after another; then each site gets its part of the answer back.
    kept = keep_largest(magnitudes, round(sparsity * magnitudes.size))
    ends = np.cumsum([stack.size for stack in matrices.values()])
    parts = np.split(kept, ends[:-1])
    return {
        site: np.where(part.reshape(stack.shape), stack, np.float32(0))
        for (site, stack), part in zip(matrices.items(), parts, strict=True)
    }


def _n_m(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if match is None or not 0 < int(match[1]) < int(match[2]):
        raise ValueError(f"{text!r} is not n:m with 0 < n < m, such as 2:4")
    return int(match[1]), int(match[2])
