"""Where the values of a graph lie: what is computed with on the device, what is counted with in host memory.

Shapes, lengths and axes are read as Python numbers, for which a device would have to be waited for. They are made of
integers of one dimension at most, which stay in host memory, as do constants until something on the device meets them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

HOST = torch.device("cpu")


class Placement:
    """Brings the inputs of a node together on one device.

    Args:
        device: That of the live weights.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._constants: set[ir.Value] = set()
        self._moved: dict[ir.Value, Tensor] = {}

    def keep(self, values: Iterable[ir.Value]) -> None:
        """Take values for constants, which are moved once."""
        self._constants.update(values)

    def input(self, value: Any) -> Any:
        """Return an input of the graph where it belongs; a sequence stays where it is."""
        if not isinstance(value, Tensor):
            return value
        counts = not value.is_floating_point() and value.dim() < 2
        return value if counts else value.to(self.device)

    def together(
        self, values: Sequence[ir.Value | None], given: Sequence[Any], numbers: frozenset[int]
    ) -> Sequence[Any]:
        """Return the inputs of a node on the device if one of them is there, but for those that it reads as numbers."""
        if self.device == HOST or all(_on_host(each) for each in given):
            return given
        return [
            each if place in numbers or value is None or not _is_host_tensor(each) else self._move(value, each)
            for place, (value, each) in enumerate(zip(values, given, strict=True))
        ]

    def _move(self, value: ir.Value, tensor: Tensor) -> Tensor:
        if value not in self._constants:
            return tensor.to(self.device)
        if value not in self._moved:
            self._moved[value] = tensor.to(self.device)
        return self._moved[value]


def _is_host_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device == HOST


def _on_host(value: Any) -> bool:
    return not isinstance(value, Tensor) or value.device == HOST
