"""Between matrices and the rows or groups of rows that share their coefficients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dtc.device_arrays import namespace
from dtc.errors import ModelError
from dtc.forms import Array, BinaryCode, Form
from dtc.forms.binary import pack_bits
from dtc.passes.method import Outcome, Skip, Weights
from dtc.passes.options import ScaleType
from dtc.passes.solvers.binary_codes import Codes, Kept, Rows, Wide

SMALLEST_FLOAT16 = 6.2e-5
"""Float16 numbers below this one are subnormal, or nearly so, and lose precision."""


def group_width(cols: int, group_size: int) -> int:
    """Return the group size for a matrix of `cols` columns: 0, one group a row, where a row fills no second."""
    return group_size if 0 < group_size < cols else 0


def grouped(matrix: Array, kept: Kept | None, group_size: int) -> Rows:
    """Return each group `[out * groups, size]` of a matrix; the tail of a last short group does not count."""
    if not group_size:
        return Rows(matrix if kept is None else matrix * kept, kept)
    rows, cols = matrix.shape
    # [2, 10] in groups of 8 is padded to [2, 16] and becomes [4, 8]: the second and the fourth group have two weights
    # of their own, and six that are not kept and so count in no sum.
    missing = -cols % group_size
    if missing:
        kept = np.ones(matrix.shape, np.bool_) if kept is None else kept
        kept = np.pad(kept, ((0, 0), (0, missing)))
        matrix = np.pad(matrix, ((0, 0), (0, missing)))
    shape = ((cols + missing) // group_size * rows, group_size)
    values = matrix.reshape(shape)
    if kept is None:
        return Rows(values)
    kept = kept.reshape(shape)
    # A pruned weight is 0 in the values: sums over a row need no mask.
    return Rows(values * kept, kept)


def assemble(
    codes: Codes, alphas: Wide, cols: int, group_size: int, dtype: ScaleType, *, kept: Kept | None = None
) -> BinaryCode:
    """Return the form of codes `[out, in]` (bit `p` for plane `p`) and alphas `[out * groups, bits]`."""
    bits = alphas.shape[1]
    planes = np.stack([pack_bits((codes >> np.uint8(p) & 1).view(np.bool_)) for p in range(bits)])
    # [out * groups, bits] -> [bits, out * groups] -> [bits, out, groups].
    scales = alphas.T.reshape(bits, len(codes), -1).astype(dtype)
    mask = None if kept is None else pack_bits(kept)
    return BinaryCode(planes, scales, cols, group_size, mask=mask)


def scale_type(scales: npt.NDArray[np.floating], wanted: ScaleType) -> ScaleType:
    """Return the dtype to store scales in: `wanted`, or float32 where float16 would overflow or lose precision."""
    size = np.abs(scales[scales != 0])
    fits = size.size == 0 or (size.max() <= np.finfo(np.float16).max and size.min() >= SMALLEST_FLOAT16)
    return "float16" if wanted == "float16" and fits else "float32"


def settle(weights: Weights, forms: tuple[BinaryCode, ...]) -> Outcome:
    """Return the coded forms of a site, or a `Skip` where they take no fewer bytes than the dense weight."""
    coded, dense = sum(form.nbytes for form in forms), weights.matrices.nbytes
    rows, cols = weights.out_in
    if coded >= dense:
        return Skip(f"{forms[0].detail} takes {coded} bytes at {len(forms)}x{rows}x{cols}, the dense weight {dense}")
    result: tuple[Form, ...] = forms
    return result


def refuse_not_finite(weights: Weights) -> None:
    """Raise a ModelError if a weight is NaN or infinite."""
    if not namespace(weights.matrices).isfinite(weights.matrices).all():
        raise ModelError(f"weight {weights.site!r} holds NaN or infinite values and cannot be coded; repair the model")
