"""A GPU that is pretended: its tensors lie in host memory, but refuse what those of a GPU refuse.

NumPy cannot read them, no operator takes them together with tensors in host memory, and what is computed of them lies
where they do. So a copy between host and device that was forgotten is found without a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from dtc.training.engines.torch import engine as engine_module
from dtc.training.engines.torch.operators import random as random_module

GPU = torch.device("cuda", 0)
_MIXED = frozenset({"copy_", "grad"})
"""What takes tensors of both kinds, on a GPU too."""


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Let `cuda` be such a device, for engines that are made here as well."""
    with (
        mock.patch.object(engine_module, "open_device", lambda name, _: torch.device(name)),
        mock.patch.object(random_module, "device_source", lambda _, seed: torch.Generator().manual_seed(seed)),
        _Pretence(),
    ):
        yield


class _OnGpu(torch.Tensor):
    """A tensor of the GPU."""


class _Pretence(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        there = any(isinstance(each, _OnGpu) for each in tensors)
        with torch._C.DisableTorchFunctionSubclass():
            if there and name in ("numpy", "__array__"):
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
            if there and name == "__get__" and func == torch.Tensor.device.__get__:
                return GPU
            if name in ("cpu", "to"):
                return _moved(name, args[0], args[1:], kwargs)
            if there and name not in _MIXED:
                _refuse_mixed(name, args, tensors)
            target = torch.device(kwargs.pop("device", None) or (GPU if there else "cpu"))
            return _placed(func(*args, **kwargs), target)


def _moved(name: str, tensor: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """Carry out `cpu` and `to`, whose arguments may name a device, a type, or a tensor that has both."""
    words = [*args, *kwargs.values()]
    like = next((word for word in words if isinstance(word, torch.Tensor)), tensor)
    dtype = next((word for word in words if isinstance(word, torch.dtype)), like.dtype)
    device = next((word for word in words if isinstance(word, torch.device | str)), _device(like))
    target = torch.device("cpu" if name == "cpu" else device)
    moved = torch.Tensor.to(tensor, dtype)
    # A device has memory of its own.
    return _placed(moved if target.type == _device(tensor).type else moved.clone(), target)


def _device(tensor: torch.Tensor) -> torch.device:
    return GPU if isinstance(tensor, _OnGpu) else torch.device("cpu")


def _refuse_mixed(name: str, args: tuple[Any, ...], tensors: list[torch.Tensor]) -> None:
    # A single number may be anywhere, and so may the indices of a tensor.
    elsewhere = [each for each in tensors if not isinstance(each, _OnGpu) and each.dim()]
    if elsewhere and not (name in ("__getitem__", "__setitem__") and isinstance(args[0], _OnGpu)):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device")


def _placed(found: Any, target: torch.device) -> Any:
    """Return tensors as those of a device; the memory is the same."""
    kind = _OnGpu if target.type == "cuda" else torch.Tensor

    def place(value: Any) -> Any:
        return value.as_subclass(kind) if isinstance(value, torch.Tensor) and type(value) is not kind else value

    return tree_map(place, found)
