"""Weights like those of trained transformers, drawn when they are read and let go again, so that any number fits.

Entries are Gaussian, scaled for each input and each output by log-normal numbers, so that some rows are far larger than
others, and a part of low rank stands out of the noise, as the first singular values of trained matrices do.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.forms import Array

_BLOCK = 1 << 22
"""Numbers drawn at once."""

_SPREAD = 0.4
"""Standard deviation of the logarithm of a row's and a column's scale: the largest of 4096 is four times the usual."""

_DIRECTIONS = 16
"""Rank of the part that stands out, with the energy of `_STANDING_OUT` times the noise."""

_STANDING_OUT = 0.25


@dataclass(frozen=True)
class WeightDraws:
    """The random numbers of a model: each tensor's depend on the seed and on its name alone.

    Attributes:
        seed: Of the model.
        dtype: Of its floats.
    """

    seed: int
    dtype: ir.DataType

    def matrix(self, name: str, shape: tuple[int, int]) -> ir.LazyTensor:
        """Return a weight whose products with inputs of size 1 have size 1, whichever side they come from."""
        return self._tensor(name, shape, lambda rng: _heavy_tailed(rng, shape), self.dtype)

    def gains(self, name: str, size: int) -> ir.LazyTensor:
        """Return the scale of a normalisation: around 1."""
        return self._tensor(name, (size,), lambda rng: 1 + 0.1 * rng.standard_normal(size, np.float32), self.dtype)

    def shifts(self, name: str, size: int) -> ir.LazyTensor:
        """Return a bias: around 0."""
        return self._tensor(name, (size,), lambda rng: 0.02 * rng.standard_normal(size, np.float32), self.dtype)

    def codes(self, name: str, shape: tuple[int, ...]) -> ir.LazyTensor:
        """Return quantized weights: bytes of two four-bit codes."""
        return self._tensor(name, shape, lambda rng: rng.integers(0, 256, shape, np.uint8), ir.DataType.UINT8)

    def scales(self, name: str, shape: tuple[int, int], size: float) -> ir.LazyTensor:
        """Return the scales of quantized weights, around `size`."""
        return self._tensor(name, shape, lambda rng: size * rng.uniform(0.5, 1.5, shape), self.dtype)

    def _tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        draw: Callable[[np.random.Generator], npt.NDArray[np.generic]],
        dtype: ir.DataType,
    ) -> ir.LazyTensor:
        def drawn() -> ir.TensorProtocol:
            rng = np.random.Generator(np.random.SFC64([self.seed, zlib.crc32(name.encode())]))
            return ir.tensor(draw(rng).astype(dtype.numpy(), copy=False), name=name)

        return ir.LazyTensor(drawn, dtype=dtype, shape=ir.Shape(shape), name=name)


def _heavy_tailed(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    rows, cols = shape
    tall, wide = (rng.lognormal(0, _SPREAD, size).astype(np.float32) for size in shape)
    left = rng.standard_normal((rows, _DIRECTIONS), np.float32)
    # Falling sizes, whose squares sum to `_STANDING_OUT`.
    sizes = np.geomspace(1, 0.1, _DIRECTIONS)
    sizes *= np.sqrt(_STANDING_OUT / np.square(sizes).sum())
    right = sizes[:, None].astype(np.float32) * rng.standard_normal((_DIRECTIONS, cols), np.float32)
    wide /= np.sqrt(np.square(wide).mean() * np.square(tall).mean() * (1 + _STANDING_OUT) * np.sqrt(rows * cols))
    matrix = np.empty(shape, np.float32)
    step = max(1, _BLOCK // cols)
    for start in range(0, rows, step):
        part = matrix[start : start + step]
        rng.standard_normal(out=part, dtype=np.float32)
        part += left[start : start + step] @ right
        part *= tall[start : start + step, None]
        part *= wide
    return matrix
