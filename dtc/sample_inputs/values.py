"""Which numbers generated inputs hold: kinds of which some models make finite outputs, and others do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dtc.errors import DataError
from dtc.graph.signature import TensorSpec

Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], Any]

USUAL = "Gaussian"

KINDS: Mapping[str, Draw] = {
    USUAL: lambda rng, shape: rng.standard_normal(shape),
    "positive": lambda rng, shape: rng.uniform(0.1, 1.0, shape),  # Log and Sqrt
    "small": lambda rng, shape: 1e-2 * rng.standard_normal(shape),  # Exp, and probabilities near 0
    "large": lambda rng, shape: rng.uniform(1.0, 100.0, shape),  # Acosh, and pixels
    "negative": lambda rng, shape: rng.uniform(-1.0, -0.1, shape),
    "whole": lambda rng, shape: rng.integers(1, 8, shape),  # ids that an exporter made floats of
    "zero": lambda _, shape: np.zeros(shape),
}
"""Numbers of floats, by the word for them; the first kind is drawn where nothing speaks for another."""

_WORDS = np.array(["", "a", "word", "0", "two words", "\N{GREEK SMALL LETTER LAMDA}"], object)
_ITEMS = 2  # of a sequence


def draw_value(
    spec: TensorSpec, shape: tuple[int, ...], limits: tuple[int, int], rng: np.random.Generator, kind: str = USUAL
) -> Any:
    """Return an array of the input's type, a list of them for a sequence; an optional one is there.

    Integers lie in the half-open range `limits`; floats are of `kind`.
    """
    if (item := inner(spec.dtype, "optional")) is not None:
        return draw_value(TensorSpec(spec.name, item, spec.shape), shape, limits, rng, kind)
    if (item := inner(spec.dtype, "seq")) is not None:
        of_one = TensorSpec(spec.name, item, spec.shape)
        return [draw_value(of_one, shape, limits, rng, kind) for _ in range(_ITEMS)]
    if spec.dtype == "string":
        return np.asarray(rng.choice(_WORDS, shape), object)
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iub":
        return rng.integers(*limits, size=shape).astype(dtype)
    return np.asarray(KINDS[kind](rng, shape), dtype)


def filled(spec: TensorSpec, shape: tuple[int, ...], value: object) -> Any:
    """Return an array of the input's type that is full of one value, the nearest that the type can hold."""
    if spec.dtype == "string":
        return np.full(shape, str(value), object)
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iu":
        held = np.iinfo(dtype)
        value = min(max(int(float(str(value))), held.min), held.max)
    return np.full(shape, value).astype(dtype)


def fitting(spec: TensorSpec, given: Any) -> Any:
    """Return a given value as the input's type where that loses nothing: a list as a sequence, 1 as 1.0.

    Raises:
        DataError: An array is not of the input's type or shape.
    """
    if (item := inner(spec.dtype, "optional")) is not None:
        return given if given is None else fitting(TensorSpec(spec.name, item, spec.shape), given)
    if (item := inner(spec.dtype, "seq")) is not None:
        arrays = [np.asarray(each) for each in given]
        return [array if (held := _as_type(item, array)) is None else held for array in arrays]
    if not isinstance(given, np.ndarray):
        return given
    held, told = _as_type(spec.dtype, given), "string" if given.dtype.kind in "OUS" else given.dtype.name
    if held is None or not _has_shape(spec, given.shape):
        value = f"{given.tolist()}, " if given.size == 1 else ""
        raise DataError(f"input {spec} cannot be {value}{told} {list(given.shape)}")
    return held


def _as_type(dtype: str, given: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Return an array as a type; None where that would change it."""
    if (dtype == "string") != (given.dtype.kind in "OUS"):
        return None
    if dtype == "string" or dtype == given.dtype:
        return given
    with np.errstate(all="ignore"):
        cast = given.astype(dtype)
    near = cast.dtype.kind == "f" and given.dtype.kind in "iuf"
    return cast if near or np.array_equal(cast, given) else None


def _has_shape(spec: TensorSpec, shape: Sequence[int]) -> bool:
    same = (not isinstance(dim, int) or dim == size for dim, size in zip(spec.shape, shape, strict=False))
    return len(shape) == len(spec.shape) and all(same)


def inner(dtype: str, wrapping: str) -> str | None:
    """Return `float32` of `seq(float32)`; None of another type."""
    return dtype[len(wrapping) + 1 : -1] if dtype.startswith(f"{wrapping}(") else None
