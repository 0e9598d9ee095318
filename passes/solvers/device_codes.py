"""Binary codes of rows that lie on a device: the steps of `dtc.passes.solvers.binary_codes` on tensors.

What has the size of the weights stays on the device; coefficients, a few numbers a row, are solved in host memory. Sums
are taken in one order, so that the same weights give the same codes: counts by scattered addition would not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dtc.device_arrays import DeviceArray, as_type, beside, namespace, on_host
from dtc.passes.solvers.binary_codes import PlaneLevels, SignPlanes, Wide, ordered, sign_table, solved

Fit = Callable[[DeviceArray, Wide], Wide]
"""Makes the coefficients `[rows, planes]` of codes from those of the planes before and a last mean magnitude."""


def greedy(values: DeviceArray, bits: int) -> SignPlanes:
    """Return codes and coefficients in host memory, as `binary_codes.greedy` does; `values` float32 `[rows, n]`."""
    return _on_host(*_residual_planes(values, bits, lambda _, alphas: alphas))


def refined(values: DeviceArray, bits: int) -> SignPlanes:
    """Return codes and coefficients in host memory, as `binary_codes.refined` does."""
    return _on_host(*_residual_planes(values, bits, lambda codes, alphas: _fitted(values, codes, alphas.shape[1])))


def alternating(values: DeviceArray, bits: int, rounds: int = 2, start: Wide | None = None) -> SignPlanes:
    """Return codes and coefficients in host memory, as `binary_codes.alternating` does."""
    if bits == 1:
        return greedy(values, bits)
    if start is None:
        codes, _ = _residual_planes(values, bits, lambda _, alphas: alphas)
    else:
        codes = _nearest(values, start)
    for _ in range(rounds):
        _, alphas = _canonical(codes, _fitted(values, codes, bits))
        codes = _nearest(values, alphas)
    return _on_host(*_canonical(codes, _fitted(values, codes, bits)))


def _residual_planes(values: DeviceArray, bits: int, fit: Fit) -> tuple[DeviceArray, Wide]:
    lib, alphas = namespace(values), np.zeros((len(values), 0))
    codes, residual = lib.zeros_like(values, dtype=lib.uint8), values
    for plane in range(bits):
        codes |= (residual >= 0).to(lib.uint8) << plane
        mean = on_host(residual.abs().mean(dim=1, dtype=lib.float64))
        alphas = fit(codes, np.hstack([alphas, mean[:, None]]))
        if plane + 1 < bits:
            levels = (alphas @ sign_table(plane + 1).T).astype(np.float32)
            residual = values - _looked_up(beside(levels, values), codes)
    return _canonical(codes, alphas)


def _fitted(values: DeviceArray, codes: DeviceArray, bits: int) -> Wide:
    """Return the coefficients `[rows, bits]` that fit best, in host memory."""
    # The signs of a plane are whole numbers, whose sums float32 holds exactly; those with weights are float64.
    signs = [as_type((codes >> plane & 1) * 2.0 - 1, "float32") for plane in range(bits)]
    right = np.stack([on_host((sign * values).mean(dim=1, dtype=namespace(values).float64)) for sign in signs], axis=1)
    gram = np.ones((len(values), bits, bits))
    for first in range(bits):
        for second in range(first):
            alike = on_host((signs[first] * signs[second]).sum(dim=1)).astype(np.float64) / values.shape[1]
            gram[:, first, second] = gram[:, second, first] = alike
    return solved(gram, right)


def _nearest(values: DeviceArray, alphas: Wide) -> DeviceArray:
    midpoints, order = PlaneLevels(alphas).in_order
    lib = namespace(values)
    place = lib.searchsorted(beside(midpoints, values), values.contiguous(), right=True)
    return lib.take_along_dim(beside(order, values), place, dim=1)


def _canonical(codes: DeviceArray, alphas: Wide) -> tuple[DeviceArray, Wide]:
    alphas, renamed = ordered(alphas)
    return (codes if renamed is None else _looked_up(beside(renamed, codes), codes)), alphas


def _looked_up(table: DeviceArray, codes: DeviceArray) -> DeviceArray:
    """Return the entries of `table [rows, levels]` at codes `[rows, n]`."""
    lib = namespace(codes)
    return lib.take_along_dim(table, codes.to(lib.int64), dim=1)


def _on_host(codes: DeviceArray, alphas: Wide) -> SignPlanes:
    return SignPlanes(on_host(codes), alphas)
