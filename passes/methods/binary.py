"""Binary codes: each row, or group of a row, a sum of sign planes with real coefficients.

J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018 (arXiv 1810.12823), algorithm 2; the solvers and their papers are in
`dtc.passes.solvers.binary_codes`. Pruned weights are left out of every sum, and stay 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from dtc.errors import UsageError
from dtc.forms import BinaryCode
from dtc.passes.method import DistortionStep, Method, Options, Outcome, Weights
from dtc.passes.solvers.binary_codes import Codes, Kept, Wide, alternating, greedy, refined
from dtc.passes.solvers.compensated_codes import Solver, compensated
from dtc.passes.solvers.groups import assemble, group_width, grouped, refuse_not_finite, scale_type, settle


class BinaryOptions(Options):
    """How many planes, how they are found, and what shares a coefficient."""

    bits: int = Field(..., ge=1, le=8, description="sign planes, bits a weight")
    solver: Literal["greedy", "refined", "alternating"] = Field(
        "alternating", description="how signs and coefficients are found; the later, the closer to the weights"
    )
    rounds: int = Field(2, ge=1, le=100, description="rounds of the alternating solver")
    group_size: int = Field(
        0, ge=0, description="weights of a row that share coefficients, a multiple of 8; 0: the row"
    )
    alpha_dtype: Literal["float16", "float32"] = Field(
        "float16", description="how coefficients are stored; float32 is taken where float16 is too narrow"
    )
    compensate: bool = Field(
        default=False, description="choose codes by the error at the layer's output (GPTQ); needs samples"
    )

    @field_validator("group_size")
    @classmethod
    def _whole_bytes(cls, size: int) -> int:
        if size % 8:
            raise ValueError("give a multiple of 8, or 0 for whole rows")
        return size


class Binary(Method):
    """Replace each row, or group of a row, by the nearest sum of scaled signs."""

    name: ClassVar[str] = "binary"
    title: ClassVar[str] = "binary codes (multi-bit)"
    options_type: ClassVar[type[Options]] = BinaryOptions
    options: BinaryOptions

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        """Return what two planes with float16 coefficients a row give."""
        stored = 2 * rows * (-(-cols // 8) + 2)
        return f"2 bits: {4 * rows * cols / stored:.1f}x" if stored < 4 * rows * cols else "nothing to save"

    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        """Return the codes of every site that gets smaller by them.

        Raises:
            UsageError: `compensate` without calibration data, or a pruned weight in 8 planes.
            ModelError: A weight is not finite.
        """
        return {w.site: self._site(w) for w in weights}

    def _site(self, w: Weights) -> Outcome:
        refuse_not_finite(w)
        if w.mask is not None and self.options.bits > 7:
            raise UsageError(f"method binary, --bits: {w.site!r} is pruned and takes at most 7 planes (given: 8)")
        size = group_width(w.out_in[1], self.options.group_size)
        found = [self._codes(w, index, size) for index in range(len(w.matrices))]
        # One dtype for all matrices of a site, so that they can be lowered together.
        dtype = scale_type(np.concatenate([alphas for _, alphas in found]), self.options.alpha_dtype)
        forms: list[BinaryCode] = []
        for index, (codes, alphas) in enumerate(found):
            forms.append(assemble(codes, alphas, w.out_in[1], size, dtype, kept=_mask(w, index)))
        return settle(w, tuple(forms))

    def _codes(self, w: Weights, index: int, size: int) -> tuple[Codes, Wide]:
        """Return codes `[out, in]` and alphas `[out * groups, bits]` of one matrix."""
        matrix, kept = w.matrices[index], _mask(w, index)
        solve = self._solver()
        if self.options.compensate and w.role != "Gather":  # rows of a table are looked up: nothing is summed
            if w.gram is None:
                raise UsageError(f"--compensate needs samples of the inputs of {w.node!r}: give --data")
            return compensated(matrix, kept, size, w.gram()[index], solve)
        coded = solve(grouped(matrix, kept, size))
        return coded.codes.reshape(len(matrix), -1)[:, : matrix.shape[1]], coded.alphas

    def _solver(self) -> Solver:
        bits = self.options.bits
        if self.options.solver == "alternating":
            return partial(alternating, bits=bits, rounds=self.options.rounds)
        return partial({"greedy": greedy, "refined": refined}[self.options.solver], bits=bits)


def _mask(w: Weights, index: int) -> Kept | None:
    return None if w.mask is None else w.mask[index]
