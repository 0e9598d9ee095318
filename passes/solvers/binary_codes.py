"""Binary codes of rows: greedy, refined and alternating.

Y. Guo et al., Network Sketching, CVPR 2017 (arXiv 1706.02021); C. Xu et al., Alternating Multi-bit Quantization for
Recurrent Neural Networks, ICLR 2018 (arXiv 1802.00150), equations (3) to (5), algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dtc.forms import Array

Codes = npt.NDArray[np.uint8]
Kept = npt.NDArray[np.bool_]
Wide = npt.NDArray[np.float64]

BLOCK = 1 << 15
"""Weights worked on at once by the search, so that its indices stay in the cache."""

AT_ONCE = 1 << 23
"""Weights coded at once: copies and indices of them take some hundred megabytes."""

SINGULAR = 1e-10
"""A determinant of `B^T B / n` below this is taken for zero; its entries lie in -1..1."""


@dataclass(frozen=True)
class Rows:
    """Rows to be coded, and which of their weights count.

    Attributes:
        values: float32 `[rows, n]`, 0 where not kept.
        kept: bool `[rows, n]`, or None: all of them.
    """

    values: Array
    kept: Kept | None = None

    @property
    def counts(self) -> Wide:
        """Number of kept weights of each row, float64 `[rows]`, at least 1: sums are divided by the counts."""
        rows, cols = self.values.shape
        counts: Wide = np.full(rows, float(cols)) if self.kept is None else np.maximum(self.kept.sum(axis=1), 1.0)
        return counts


@dataclass(frozen=True)
class SignPlanes:
    """Codes and coefficients of rows.

    Attributes:
        codes: uint8 `[rows, n]`; bit `p` is the sign in plane `p`, 1 being +1; 0 where not kept.
        alphas: float64 `[rows, bits]`, not negative, largest first.
    """

    codes: Codes
    alphas: Wide


def in_blocks(solve: Callable[[Rows], SignPlanes], rows: Rows) -> SignPlanes:
    """Return what `solve` makes of rows, of which none depends on another, some at a time."""
    step = max(1, AT_ONCE // rows.values.shape[1])
    if len(rows.values) <= step:
        return solve(rows)
    spans = [slice(start, start + step) for start in range(0, len(rows.values), step)]
    kept = rows.kept
    parts = [solve(Rows(rows.values[span], None if kept is None else kept[span])) for span in spans]
    return SignPlanes(np.concatenate([part.codes for part in parts]), np.concatenate([part.alphas for part in parts]))


def greedy(rows: Rows, bits: int) -> SignPlanes:
    """Return planes found one by one, each the signs and mean magnitude of the residual (equations 3 and 4)."""
    return _residual_planes(rows, bits, lambda _, alphas: alphas)


def refined(rows: Rows, bits: int) -> SignPlanes:
    """Return planes as `greedy` does, with all coefficients solved again after each (Guo et al., refined sketching)."""
    return _residual_planes(rows, bits, lambda codes, alphas: least_squares(rows, codes, alphas.shape[1]))


def alternating(rows: Rows, bits: int, rounds: int = 2, start: Wide | None = None) -> SignPlanes:
    """Return planes improved by `rounds` of least squares and nearest codes (algorithm 2), and a last fit.

    They start from the codes nearest to levels of the coefficients `start [rows, bits]`, else from greedy planes.
    """
    if bits == 1:
        return greedy(rows, bits)  # the mean magnitude is the solution
    coded = greedy(rows, bits) if start is None else SignPlanes(nearest(rows, start), start)
    for _ in range(rounds):
        coded = canonical(coded.codes, least_squares(rows, coded.codes, bits), rows.kept)
        coded = SignPlanes(nearest(rows, coded.alphas), coded.alphas)
    return canonical(coded.codes, least_squares(rows, coded.codes, bits), rows.kept)


def sign_table(bits: int) -> Wide:
    """Return the signs `[2^bits, bits]` of every code."""
    digits = (np.arange(1 << bits)[:, None] >> np.arange(bits)) & 1
    return np.asarray(2 * digits - 1, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class PlaneLevels:
    """The levels that coefficients make, a set for each row.

    Attributes:
        alphas: float64 `[rows, bits]`.
    """

    alphas: Wide

    @cached_property
    def in_order(self) -> tuple[Array, Codes]:
        """The midpoints between levels, float32 `[rows, 2^bits - 1]`, and the levels' codes, in rising order."""
        # Coefficients (2, 1): codes 0 to 3 stand for -3, 1, -1, 3. In rising order these are codes (0, 2, 1, 3), and
        # the midpoints are -2, 0, 2.
        levels = np.asarray(self.alphas @ sign_table(self.alphas.shape[1]).T)
        order = np.argsort(levels, axis=1, kind="stable").astype(np.uint8)
        ordered = np.take_along_axis(levels, order.astype(np.intp), axis=1)
        return ((ordered[:, 1:] + ordered[:, :-1]) / 2).astype(np.float32), order

    def nearest(self, rows: Rows) -> Codes:
        """Return the code of the level nearest to each weight, by binary search among midpoints (algorithm 1)."""
        values = rows.values
        # A weight of 0.4 lies behind two of the midpoints -2, 0, 2: it gets the third code in rising order.
        # midpoints [rows, 2^bits - 1]; order [rows, 2^bits].
        midpoints, order = self.in_order
        codes = np.empty(values.shape, dtype=np.uint8)
        step = max(1, BLOCK // values.shape[1])
        for start in range(0, len(values), step):
            block = slice(start, start + step)
            codes[block] = _search(values[block], midpoints[block], order[block])
        if rows.kept is not None:
            codes *= rows.kept
        return codes

    def weights(self, codes: Codes) -> Array:
        """Return the weights `[rows, n]` that codes stand for."""
        return decoded(codes, self.alphas)


def nearest(rows: Rows, alphas: Wide) -> Codes:
    """Return the code of the level nearest to each weight, of the levels that coefficients `[rows, bits]` make."""
    return PlaneLevels(alphas).nearest(rows)


def _search(values: Array, midpoints: Array, order: Codes) -> Codes:
    """Return `order [rows, levels]` at the number of midpoints that are not above each value `[rows, n]`.

    Each row has midpoints of its own, which `np.searchsorted` cannot have; so all values search together, a bit of the
    position a round.
    """
    count, levels = order.shape
    flat = midpoints.ravel()
    base = (np.arange(count, dtype=np.int32) * (levels - 1))[:, None]
    position = np.zeros(values.shape, dtype=np.int32)
    half = levels // 2
    # Invariant: the position that is looked for lies in position .. position + 2 half - 1. With 4 levels the first
    # round asks midpoint 1, the second midpoint 0 or 2.
    while half:
        position += np.where(flat.take(position + (base + (half - 1))) <= values, np.int32(half), np.int32(0))
        half //= 2
    # `order` has a column more than `midpoints`: its rows begin at multiples of `levels`.
    found: Codes = order.ravel().take(position + (np.arange(count, dtype=np.int32) * levels)[:, None])
    return found


def _residual_planes(rows: Rows, bits: int, solve: Callable[[Codes, Wide], Wide]) -> SignPlanes:
    """Add plane after plane, each of the residual's signs; `solve` returns the coefficients `[rows, planes]` so far."""
    values, kept, counts = rows.values, rows.kept, rows.counts
    codes = np.zeros(values.shape, dtype=np.uint8)
    alphas: Wide = np.zeros((len(values), 0), dtype=np.float64)
    residual = values
    for plane in range(bits):
        # Equations (3) and (4): the signs fit best whatever the coefficient, and with them the mean magnitude. The row
        # (3, -1, 2) gets (+, -, +) and 2; what is left, (1, 1, 0), gets (+, +, +) and 2/3.
        codes |= ((residual >= 0) if kept is None else (residual >= 0) & kept).view(np.uint8) << np.uint8(plane)
        mean = np.abs(residual).sum(axis=1, dtype=np.float64) / counts
        alphas = solve(codes, np.asarray(np.hstack([alphas, mean[:, None]]), dtype=np.float64))
        if plane + 1 < bits:
            residual = values - decoded(codes, alphas)
            if kept is not None:
                residual *= kept
    return canonical(codes, alphas, kept)


def decoded(codes: Codes, alphas: Wide) -> Array:
    """Return the weights `[rows, n]` that codes stand for."""
    bits = alphas.shape[1]
    levels = (alphas @ sign_table(bits).T).astype(np.float32)
    # The levels of all rows lie one after another, 2^bits for each row.
    at = (np.arange(len(codes), dtype=np.int32) << bits)[:, None] + codes
    found: Array = levels.ravel().take(at)
    return found


def least_squares(rows: Rows, codes: Codes, bits: int) -> Wide:
    """Return the coefficients `[rows, bits]` that fit best (equation 5), from counts and sums for each code."""
    count, levels = len(codes), 1 << bits
    # Weights of one code have the same signs: of a row's n weights, 2^bits counts and sums say all. So the products
    # take 2^bits steps instead of n, and n appears in the two counts below alone.
    # held, sums [rows, 2^bits]; in `coefficients` signs [2^bits, bits], and gram, B^T B / n, [rows, bits, bits].
    bins = (np.arange(count, dtype=np.int64) * levels)[:, None] + codes
    used = bins.ravel() if rows.kept is None else bins[rows.kept]
    values = rows.values.ravel() if rows.kept is None else rows.values[rows.kept]
    held = np.bincount(used, minlength=count * levels).reshape(count, levels).astype(np.float64)
    sums = np.bincount(used, weights=values, minlength=count * levels).reshape(count, levels).astype(np.float64)
    return coefficients(held, sums, rows.counts)[0]


def coefficients(held: Wide, sums: Wide, counts: Wide) -> tuple[Wide, Wide]:
    """Return the coefficients `[rows, bits]` that fit best (equation 5), and how much of the squares they explain.

    `held` and `sums`, `[rows, 2^bits]`, say how many weights have a code and what these sum up to; `counts` are the
    weights of a row. The squared error of a row is the sum of its squares less what is explained.
    """
    signs = sign_table(held.shape[1].bit_length() - 1)
    levels, bits = signs.shape
    products = (signs[:, :, None] * signs[:, None, :]).reshape(levels, -1)
    gram = (held @ products).reshape(-1, bits, bits) / counts[:, None, None]
    right = (sums @ signs) / counts[:, None]
    alphas = solved(gram, right)
    return alphas, (alphas * right).sum(axis=1) * counts


def solved(gram: Wide, right: Wide) -> Wide:
    """Return x of `gram x = right`, `[rows, bits]`, each row; where planes repeat each other, that of least norm."""
    singular = np.linalg.det(gram) < SINGULAR
    safe = np.where(singular[:, None, None], np.eye(gram.shape[1]), gram)
    solution = np.asarray(np.linalg.solve(safe, right[:, :, None])[:, :, 0], dtype=np.float64)
    if singular.any():
        inverse = np.linalg.pinv(gram[singular], rcond=1e-9, hermitian=True)
        solution[singular] = (inverse @ right[singular][:, :, None])[:, :, 0]
    return solution


def canonical(codes: Codes, alphas: Wide, kept: Kept | None) -> SignPlanes:
    """Make coefficients positive and descending, and change the codes to match: the weights stay the same."""
    alphas, renamed = ordered(alphas)
    if renamed is None:
        return SignPlanes(codes, alphas)
    at = (np.arange(len(codes), dtype=np.int32) << alphas.shape[1])[:, None] + codes
    found: Codes = renamed.ravel().take(at)
    if kept is not None:
        found *= kept
    return SignPlanes(found, alphas)


def ordered(alphas: Wide) -> tuple[Wide, Codes | None]:
    """Return coefficients positive and descending, and the new code of each old one, `[rows, 2^bits]`.

    None where the codes stay as they are.
    """
    bits = alphas.shape[1]
    order = np.argsort(-np.abs(alphas), axis=1, kind="stable")
    if (alphas >= 0).all() and (order == np.arange(bits)).all():
        return alphas, None
    # Coefficients (-1, 2) become (2, 1): the planes change places, and the signs of the former first one turn. Code
    # 0b01, which is -1 - 2, becomes 0b00, which is -2 - 1. So each row has a table of 2^bits new codes, by the old
    # ones.
    plain = ((np.arange(1 << bits)[:, None] >> np.arange(bits)) & 1).astype(np.uint8)
    turned = plain[None] ^ (alphas < 0)[:, None, :]
    moved = np.take_along_axis(turned, np.broadcast_to(order[:, None, :], turned.shape), axis=2)
    renamed = (moved << np.arange(bits, dtype=np.uint8)).sum(axis=2, dtype=np.uint8)
    return np.take_along_axis(np.abs(alphas), order, axis=1), renamed
