"""Weights that are the product of two factors, each in a form of its own."""

from __future__ import annotations

from dtc.deploy.codegen.weights.stored import Several, StoredWeight


def low_rank(left: StoredWeight, right: StoredWeight, parts: int, width: int) -> StoredWeight:
    """Return `left [rows, rank] @ right [parts * rank, cols]`, for kernels of DTC_WIDTH `width`.

    As many rows of `left` take each part of `right`.
    """
    return StoredWeight(
        "low_rank",
        left.rows,
        right.cols,
        arrays={},
        numbers={"parts": parts},
        parts={"left": left, "right": right},
        scratch=left.cols + max(left.scratch, right.scratch),
        multiply_adds=left.multiply_adds + right.multiply_adds,
        several=_several(left, right, width),
    )


def _several(left: StoredWeight, right: StoredWeight, width: int) -> Several | None:
    if left.several is None or right.several is None:
        return None
    return Several(
        width * left.cols + max(left.several.scratch, right.several.scratch),
        left.several.multiply_adds + right.several.multiply_adds,
        max(left.several.least, right.several.least),
    )
