"""Binary codes: each row, or group of a row, a sum of sign planes with real coefficients.

J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018 (arXiv 1810.12823), algorithm 2; the solvers and their papers are in
`dtc.passes.solvers.binary_codes`. Pruned weights are left out of every sum, and stay 0. Ours: the best of several
starts is sought, each improved until nothing changes; in retraining two rounds from the last codes are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
from pydantic import Field

from dtc.device_arrays import DeviceArray, on_host
from dtc.errors import UsageError
from dtc.forms import Array, BinaryCode, Form
from dtc.passes.method import Grams, Need, Outcome, SiteMethod, Weights
from dtc.passes.options import Bits, Compensation, GroupSize, Options, ScaleType, Try
from dtc.passes.solvers import device_codes
from dtc.passes.solvers.best_codes import best_codes
from dtc.passes.solvers.binary_codes import (
    Codes,
    Kept,
    PlaneLevels,
    Rows,
    SignPlanes,
    Wide,
    alternating,
    greedy,
    in_blocks,
    refined,
)
from dtc.passes.solvers.compensated_codes import compensated
from dtc.passes.solvers.groups import assemble, group_width, grouped, refuse_not_finite, scale_type, settle

Solver: TypeAlias = Callable[[Rows], SignPlanes]


class BinaryOptions(Compensation):
    """How many planes, how they are found, and what shares a coefficient."""

    bits: Annotated[Bits, Try(1, 2, 3, 4, second=(2, 3))]
    solver: Literal["greedy", "refined", "alternating"] = Field(
        "alternating", description="how signs and coefficients are found; the later, the closer to the weights"
    )
    rounds: int | None = Field(
        None,
        ge=1,
        le=100,
        description="rounds of the alternating solver from its greedy start; else as many as change anything, from the "
        "best of several starts, and two from the last codes in retraining",
    )
    group_size: Annotated[GroupSize, Try(0, 256, 128, 64)] = 0
    alpha_dtype: ScaleType = "float16"


class Binary(SiteMethod):
    """Replace each row, or group of a row, by the nearest sum of scaled signs: each bit is a plane of signs."""

    name: ClassVar[str] = "binary"
    title: ClassVar[str] = "binary codes (multi-bit)"
    paper: ClassVar[str] = "J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018 (arXiv 1810.12823), algorithm 2"
    options_type: ClassVar[type[Options]] = BinaryOptions
    example: ClassVar[Mapping[str, Any]] = {"bits": 2}
    gives: ClassVar[type[Form]] = BinaryCode
    on_device: ClassVar[bool] = True
    heeds_mask: ClassVar[bool] = True
    compensates: ClassVar[str | None] = "GPTQ: codes are chosen by the error at the output, column by column"
    needs: frozenset[Need] = frozenset({"previous"})
    options: BinaryOptions

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        """Return what two planes with float16 coefficients a row give."""
        stored = 2 * rows * (-(-cols // 8) + 2)
        return f"2 bits: {4 * rows * cols / stored:.1f}x" if stored < 4 * rows * cols else "nothing to save"

    def distort_site(self, w: Weights) -> Outcome:
        """Return the codes of a site, where it gets smaller by them.

        Raises:
            UsageError: `compensate` without calibration data, or a pruned weight in 8 planes.
            ModelError: A weight is not finite.
        """
        refuse_not_finite(w)
        if w.mask is not None and self.options.bits > 7:
            raise UsageError(f"method binary, --bits: {w.site!r} is pruned and takes at most 7 planes (given: 8)")
        size = group_width(w.out_in[1], self.options.group_size)
        grams = self.moments(w)
        found = [self._codes(w, index, size, grams) for index in range(len(w.matrices))]
        # One dtype for all matrices of a site, so that they can be lowered together.
        dtype = scale_type(np.concatenate([alphas for _, alphas in found]), self.options.alpha_dtype)
        forms: list[BinaryCode] = []
        for index, (codes, alphas) in enumerate(found):
            forms.append(assemble(codes, alphas, w.out_in[1], size, dtype, kept=_mask(w, index)))
        return settle(w, tuple(forms))

    def _codes(self, w: Weights, index: int, size: int, grams: Grams | None) -> tuple[Codes, Wide]:
        """Return codes `[out, in]` and alphas `[out * groups, bits]` of one matrix."""
        matrix, kept = w.matrices[index], _mask(w, index)
        if grams is not None:
            return _compensated(on_host(matrix), kept, size, grams[index], self._solver(None))
        last = _last_alphas(w, index, size, self.options.bits)
        if self._stays(matrix, kept, size, last):
            coded = self._device_solver(last)(grouped(matrix, None, size).values)
        else:
            rows = grouped(on_host(matrix), kept, size)
            coded = in_blocks(self._solver(None), rows) if last is None else self._solver(last)(rows)
        return coded.codes.reshape(len(matrix), -1)[:, : matrix.shape[1]], coded.alphas

    def _stays(self, matrix: DeviceArray, kept: Kept | None, size: int, last: Wide | None) -> bool:
        """Return whether a matrix is coded on the device that it lies on.

        It is not where it has a mask or a short last group, nor by the search from several starts, which is for the
        first distortion alone.
        """
        plain = kept is None and (not size or matrix.shape[1] % size == 0)
        options = self.options
        searched = options.solver == "alternating" and options.rounds is None and last is None and options.bits > 1
        return plain and not searched and not isinstance(matrix, np.ndarray)

    def _device_solver(self, last: Wide | None) -> Callable[[DeviceArray], SignPlanes]:
        options = self.options
        if options.solver != "alternating":
            solve = {"greedy": device_codes.greedy, "refined": device_codes.refined}[options.solver]
            return partial(solve, bits=options.bits)
        if options.rounds is not None:
            return partial(device_codes.alternating, bits=options.bits, rounds=options.rounds)
        return partial(device_codes.alternating, bits=options.bits, start=last)

    def _solver(self, last: Wide | None) -> Solver:
        """Return the solver; `last` are the coefficients of the last distortion, `[out * groups, bits]`."""
        options = self.options
        if options.solver != "alternating":
            return partial({"greedy": greedy, "refined": refined}[options.solver], bits=options.bits)
        if options.rounds is not None:
            return partial(alternating, bits=options.bits, rounds=options.rounds)
        if last is not None:
            return partial(alternating, bits=options.bits, start=last)
        return partial(best_codes, bits=options.bits)


def _compensated(matrix: Array, kept: Kept | None, size: int, gram: Wide, solve: Solver) -> tuple[Codes, Wide]:
    """Return codes `[out, in]` and alphas `[out * groups, bits]` that keep `X W^T` close, `gram` being `X^T X`."""
    codes, groups = compensated(matrix, kept, size, gram, lambda rows: PlaneLevels(solve(rows).alphas))
    # [groups] of [out, bits] -> [out, groups, bits] -> [out * groups, bits].
    alphas = np.stack([group.alphas for group in groups], axis=1)
    return codes, alphas.reshape(-1, alphas.shape[2])


def _last_alphas(w: Weights, index: int, group_size: int, bits: int) -> Wide | None:
    """Return the coefficients `[out * groups, bits]` of the last distortion; None where there was none like this."""
    form = None if w.previous is None else w.previous[index]
    alike = isinstance(form, BinaryCode) and (form.bits, form.group_size) == (bits, group_size)
    return form.alphas.reshape(bits, -1).T.astype(np.float64) if isinstance(form, BinaryCode) and alike else None


def _mask(w: Weights, index: int) -> Kept | None:
    return None if w.mask is None else w.mask[index]
