"""Arrays wherever an engine keeps them: NumPy's in host memory, torch's on a device.

Both libraries call most functions by the same names, so arithmetic on either is written once, on what `namespace`
gives. What differs is here. Torch is imported only where there is one of its tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

DeviceArray: TypeAlias = Any
"""A `numpy.ndarray`, or a `torch.Tensor` without a gradient of its own."""


def namespace(array: DeviceArray) -> Any:
    """Return the module whose functions work on an array: `numpy` or `torch`."""
    if isinstance(array, np.ndarray | np.generic):
        return np
    import torch

    return torch


def on_host(array: DeviceArray) -> npt.NDArray[Any]:
    """Return an array in host memory: itself if it lies there, else a copy."""
    return array if isinstance(array, np.ndarray) else np.asarray(array.cpu().numpy())


def fill(array: DeviceArray, values: DeviceArray) -> None:
    """Write values, wherever they lie, into an array of the same shape."""
    if isinstance(array, np.ndarray):
        array[...] = on_host(values)
    else:
        array.copy_(beside(values, array))


def beside(values: DeviceArray, array: DeviceArray) -> DeviceArray:
    """Return values where an array lies: a tensor of its device, or an array in host memory."""
    if isinstance(array, np.ndarray):
        return on_host(values)
    if isinstance(values, np.ndarray):
        # Torch reads no memory that may not be written to, and none with strides that run backwards.
        values = namespace(array).from_numpy(np.require(values, requirements=["C", "W"]))
    return values.to(array.device)


def copied(array: DeviceArray) -> DeviceArray:
    """Return a copy in the same place."""
    return array.copy() if isinstance(array, np.ndarray) else array.clone()


def permuted(array: DeviceArray, axes: Sequence[int]) -> DeviceArray:
    """Return a view with the axes in another order."""
    return array.transpose(axes) if isinstance(array, np.ndarray) else array.permute(tuple(axes))


def as_type(array: DeviceArray, name: str) -> DeviceArray:
    """Return an array in the type of that name, such as `float64`, contiguous: itself where it is that already."""
    if isinstance(array, np.ndarray):
        return np.ascontiguousarray(array, dtype=name)
    return array.to(getattr(namespace(array), name)).contiguous()


def has_doubles(array: DeviceArray) -> bool:
    """True if float64 can be computed where an array lies."""
    return isinstance(array, np.ndarray) or array.device.type != "mps"
