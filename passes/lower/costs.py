"""When computing on a compressed weight beats decoding it at load: a small measured table.

The alternative to an operator on codes is the dense product, after the weight was decoded when the session loaded. What
the operator gains depends on the form, on the size, on how many rows are multiplied with the weight at once, and on the
machine. The table holds what the benchmark `tests/benchmarks/native_costs.py` prints, with one thread; between its
points it is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from dtc.deploy.ops.codebook.decode import NATIVE_BITS
from dtc.forms import BinaryCode, Codebook, Form
from dtc.forms.sparse import Sparse
from dtc.forms.sparse_pattern import Lines

SIDES = (128, 512, 2048)
"""Sides of the square matrices measured: in the nearest cache, in the last one, and in memory."""

ROWS = (1, 20)
"""Rows of the other factor measured: the batch, or the steps times the batch of a sequence."""

UNKNOWN_ROWS = 4
"""Taken where the model leaves them open."""

Speeds: TypeAlias = tuple[tuple[float, float, float], tuple[float, float, float]]

SPEEDS: dict[str, Speeds] = {
    "binary 1": ((0.9, 2.2, 11.1), (0.7, 2.0, 6.8)),
    "binary 2": ((0.8, 2.0, 7.6), (0.6, 1.6, 3.8)),
    "binary 3": ((0.8, 1.7, 5.1), (0.5, 1.2, 2.6)),
    "binary 4": ((0.7, 1.6, 4.3), (0.4, 0.9, 2.0)),
    "binary 8": ((0.6, 1.1, 2.3), (0.3, 0.5, 1.0)),
    "sparse 50%": ((0.4, 0.5, 0.9), (0.6, 0.7, 0.9)),
    "sparse 80%": ((0.6, 0.9, 2.0), (0.7, 1.5, 2.1)),
    "sparse 90%": ((0.7, 1.4, 3.5), (0.8, 2.3, 4.3)),
    "sparse 95%": ((0.8, 1.8, 6.4), (0.9, 3.1, 8.1)),
    "sparse 98%": ((0.8, 2.2, 12.1), (1.0, 4.2, 15.1)),
    "codebook 4 x 1": ((0.8, 1.6, 3.1), (0.5, 0.8, 1.5)),
    "codebook 16 x 1": ((0.7, 1.1, 2.0), (0.5, 0.8, 1.3)),
    "codebook 256 x 1": ((0.5, 0.5, 1.1), (0.4, 0.6, 1.0)),
    "codebook 256 x 4": ((0.6, 0.9, 2.0), (0.5, 0.7, 1.2)),
    "codebook 256 x 8": ((0.7, 1.3, 3.5), (0.5, 0.8, 1.4)),
}
"""How many times faster than the dense float32 product, for each of `ROWS` and side; on a Zen 5 with AVX-512."""

WORTH = 1.2
"""How many times faster an operator has to be: less may be noise, and its function takes room in the file."""


@dataclass(frozen=True)
class Choice:
    """How the product with a compressed weight is computed, and why.

    Attributes:
        on_codes: True for an operator on the compressed weight; False for the dense product, with the weight decoded
            when a session loads.
        reason: In words, with the numbers.
    """

    on_codes: bool
    reason: str


def choose(form: Form, rows: int | None = None) -> Choice:
    """Choose for a product of so many rows with a weight of this form, by the table; None: they are not known."""
    speed = speed_of(form, rows)
    if speed is None:
        return Choice(True, "computed on its parts")  # noqa: FBT003 - factors, kept lines: products that are smaller
    told = f"{speed:.1f}x the speed of the dense product" + ("" if rows is None else f" of {rows} rows")
    if speed >= WORTH:
        return Choice(True, f"computed on as it is: about {told}")  # noqa: FBT003
    return Choice(False, f"decoded when a session loads: computed on as it is, it would have about {told}")  # noqa: FBT003


def speed_of(form: Form, rows: int | None = None) -> float | None:
    """Return how many times faster than dense the product is, as far as the table tells."""
    match form:
        case BinaryCode():
            planes = form.bits + (form.mask is not None)
            points = [1, 2, 3, 4, 8]
            return _between(planes, points, [_at(f"binary {bits}", form.shape, rows) for bits in points])
        case Sparse() if not isinstance(form.pattern, Lines):
            zeros = 1 - form.values.size / max(form.shape[0] * form.shape[1], 1)
            points = [50, 80, 90, 95, 98]
            return _between(100 * zeros, points, [_at(f"sparse {point}%", form.shape, rows) for point in points])
        case Codebook():
            return _at(_nearest_codebook(form), form.shape, rows)
    return None


def _nearest_codebook(form: Codebook) -> str:
    """Return the measured codebook that is most like one: an approximation, few sizes were measured.

    Indices of widths that operators do not read are bytes when they run.
    """
    if form.block > 1:
        return f"codebook 256 x {4 if form.block < 8 else 8}"
    packed = not form.huffman and form.layout.aligned
    bits = form.layout.bits if packed and form.layout.bits in NATIVE_BITS else max(NATIVE_BITS)
    return f"codebook {4 if bits <= 2 else 16 if bits <= 4 else 256} x 1"


def _at(name: str, shape: tuple[int, ...], rows: int | None) -> float:
    """Return a row of the table at the size of a matrix, and so many rows of the other factor."""
    side = float(np.sqrt(max(shape[0] * shape[1], 1)))
    by_rows = [_between(np.log2(side), np.log2(SIDES), speeds) for speeds in SPEEDS[name]]
    return _between(np.log2(UNKNOWN_ROWS if rows is None else max(rows, 1)), np.log2(ROWS), by_rows)


def _between(at: float, points: object, values: object) -> float:
    """Interpolate; beyond the ends their values hold."""
    return float(np.interp(at, np.asarray(points, dtype=float), np.asarray(values, dtype=float)))
