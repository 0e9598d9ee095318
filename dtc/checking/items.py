"""What an output holds, item by item: a tensor, a sequence, a map, an optional, or these in each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dtc.forms import AnyArray

_NARROW = frozenset({"bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"})


def items(value: object, place: str = "") -> Iterator[tuple[str, AnyArray | None]]:
    """Yield every array of a value and where it stands: `[2]['cat']` of a sequence of maps, "" of a tensor.

    Numbers and strings by themselves are arrays of no dimension; None is an optional that is not there.
    """
    if isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield from items(value[key], f"{place}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, each in enumerate(value):
            yield from items(each, f"{place}[{index}]")
    else:
        yield place, None if value is None else _array(value)


def is_text(array: AnyArray) -> bool:
    """True of an array of strings."""
    return array.dtype.kind in "OUS"


def comparable(array: AnyArray) -> Any:
    """Return a boolean array: which elements can be compared, all but NaN."""
    return np.ones(array.shape, np.bool_) if array.dtype.kind != "f" else ~np.isnan(array)


def _array(value: object) -> AnyArray:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name in _NARROW else array
