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


class Tensors:
    """Tensors of one device as one array, for arithmetic by element: a call of the device is for all of them.

    A call takes a device longer than the few numbers of a bias do.
    """

    def __init__(self, tensors: Sequence[Any]) -> None:
        self.tensors = list(tensors)

    def __imul__(self, other: Tensors | float) -> Tensors:
        _torch()._foreach_mul_(self.tensors, _given(other))
        return self

    def __iadd__(self, other: Tensors | float) -> Tensors:
        _torch()._foreach_add_(self.tensors, _given(other))
        return self

    def __isub__(self, other: Tensors | float) -> Tensors:
        _torch()._foreach_sub_(self.tensors, _given(other))
        return self

    def norm(self) -> float:
        """Return the Euclidean norm of all numbers together."""
        lib = _torch()
        each = lib._foreach_norm(self.tensors)  # noqa: SLF001 - what torch's own optimizers are written in
        return float(lib.linalg.vector_norm(lib.stack(each)))

    @staticmethod
    def empty_like(array: Tensors) -> Tensors:
        """Return tensors like these whose numbers are not set."""
        return Tensors([_torch().empty_like(each) for each in array.tensors])

    @staticmethod
    def multiply(first: Tensors, second: Tensors | float, out: Tensors) -> Tensors:
        """Write the products into `out`."""
        _torch()._foreach_copy_(out.tensors, first.tensors)
        out *= second
        return out

    @staticmethod
    def divide(first: Tensors, second: Tensors, out: Tensors) -> Tensors:
        """Write the quotients into `out`, which may be one of both."""
        lib = _torch()
        quotients = lib._foreach_div(first.tensors, second.tensors)  # noqa: SLF001 - likewise
        lib._foreach_copy_(out.tensors, quotients)
        return out

    @staticmethod
    def sqrt(array: Tensors, out: Tensors) -> Tensors:
        """Write the roots into `out`."""
        lib = _torch()
        lib._foreach_copy_(out.tensors, array.tensors)
        lib._foreach_sqrt_(out.tensors)
        return out


def _given(other: Tensors | float) -> Any:
    return other.tensors if isinstance(other, Tensors) else other


def _torch() -> Any:
    import torch

    return torch


def namespace(array: DeviceArray) -> Any:
    """Return what has the functions that work on an array: `numpy`, `torch`, or the class of many tensors."""
    if isinstance(array, np.ndarray | np.generic):
        return np
    if isinstance(array, Tensors):
        return Tensors
    return _torch()


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
