"""When computing on a compressed weight beats decoding it at load: a small measured table.

The alternative to an operator on codes is the dense product, after the weight was decoded when the session loaded. What
the operator gains depends on the form, on the size, and on the machine. The table holds what the benchmark
`tests/benchmarks/native_costs.py` prints, at batch 1 and one thread; between its points it is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dtc.forms import BinaryCode, Codebook, Form
from dtc.forms.sparse import Sparse
from dtc.forms.sparse_pattern import Lines

SIDES = (128, 512, 2048)
"""Sides of the square matrices measured: in the nearest cache, in the last one, and in memory."""

SPEEDS: dict[str, tuple[float, float, float]] = {
    "binary 1": (0.9, 2.4, 8.8),
    "binary 2": (0.9, 2.2, 5.5),
    "binary 3": (0.8, 1.8, 4.5),
    "binary 4": (0.7, 1.7, 3.5),
    "binary 8": (0.6, 1.1, 1.9),
    "sparse 50%": (0.4, 0.4, 0.7),
    "sparse 80%": (0.6, 0.9, 1.7),
    "sparse 90%": (0.7, 1.3, 3.1),
    "sparse 95%": (0.8, 1.9, 5.3),
    "sparse 98%": (0.8, 2.4, 10.1),
    "codebook 4 x 1": (0.9, 1.6, 2.5),
    "codebook 16 x 1": (0.8, 1.1, 1.7),
    "codebook 256 x 1": (0.5, 0.6, 0.9),
    "codebook 256 x 4": (0.6, 0.9, 1.7),
    "codebook 256 x 8": (0.7, 1.3, 3.1),
}
"""How many times faster than the dense float32 product, for each side; measured on a Zen 5 with AVX-512."""

_SLOWEST = 0.5
"""A product that saves memory may take up to twice the time of the dense one."""
_WORTH_SAVING = 1 << 20
"""Bytes of memory: a smaller weight is not worth a slower product."""


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


def choose(form: Form) -> Choice:
    """Choose for a product with a weight of this form, by the table."""
    rows, cols = form.shape
    speed, saved = speed_of(form), 4 * rows * cols - form.nbytes
    if speed is None:
        return Choice(True, "computed on its parts")  # noqa: FBT003 - factors, kept lines: products that are smaller
    told = f"{speed:.1f}x the speed of the dense product"
    if speed >= 1:
        return Choice(True, f"computed on as it is: about {told}")  # noqa: FBT003
    if speed >= _SLOWEST and saved >= _WORTH_SAVING:
        return Choice(True, f"computed on as it is: {saved / 1e6:.1f} MB less memory, at about {told}")  # noqa: FBT003
    return Choice(False, f"decoded when a session loads: computed on as it is, it would have about {told}")  # noqa: FBT003


def speed_of(form: Form) -> float | None:
    """Return how many times faster than dense the product is, as far as the table tells."""
    match form:
        case BinaryCode():
            planes = form.bits + (form.mask is not None)
            points = [1, 2, 3, 4, 8]
            return _between(planes, points, [_at(f"binary {bits}", form.shape) for bits in points])
        case Sparse() if not isinstance(form.pattern, Lines):
            zeros = 1 - form.values.size / max(form.shape[0] * form.shape[1], 1)
            points = [50, 80, 90, 95, 98]
            return _between(100 * zeros, points, [_at(f"sparse {point}%", form.shape) for point in points])
        case Codebook():
            return _at(_nearest_codebook(*form.codewords.stored.shape), form.shape)
    return None


def _nearest_codebook(count: int, block: int) -> str:
    """Return the measured codebook that is most like one: an approximation, few sizes were measured."""
    if block == 1:
        return f"codebook {4 if count <= 4 else 16 if count <= 16 else 256} x 1"
    return f"codebook 256 x {4 if block < 8 else 8}"


def _at(name: str, shape: tuple[int, ...]) -> float:
    """Return a row of the table at the size of a matrix."""
    side = float(np.sqrt(max(shape[0] * shape[1], 1)))
    return _between(np.log2(side), np.log2(SIDES), SPEEDS[name])


def _between(at: float, points: object, values: object) -> float:
    """Interpolate; beyond the ends their values hold."""
    return float(np.interp(at, np.asarray(points, dtype=float), np.asarray(values, dtype=float)))
