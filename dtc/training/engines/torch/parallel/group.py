"""The processes that share a batch, and what they tell each other by torch.distributed.

Gloo carries what lies in host memory, NCCL what lies on a GPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dtc.training.engines.torch.whole import Whole


@dataclass(frozen=True)
class Seat:
    """One process of a group on this machine, and how it finds the others.

    Attributes:
        rank: 0 for the one that trains.
        size: How many there are.
        store: A file by which they find each other.
    """

    rank: int
    size: int
    store: Path

    def join(self, device: torch.device) -> None:
        """Wait for all others; from here on the functions of this module work."""
        if sys.platform == "linux":
            # The name of a machine need not have an address; all processes are on this one.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        store = dist.FileStore(str(self.store), self.size)
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size)


def leave() -> None:
    """Leave the group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def send_weights(live: Sequence[Tensor]) -> None:
    """Copy the tensors of the first process into those of all others, which have the same shapes."""
    flat = torch.cat([each.detach().reshape(-1) for each in live])
    dist.broadcast(flat, 0)
    if dist.get_rank():
        for each, values in zip(live, _split(flat, live), strict=True):
            each.detach().copy_(values)


def sum_gradients(own: Sequence[Tensor]) -> list[Tensor]:
    """Return the sums of the tensors over all processes in the first one; what the others get means nothing."""
    flat = torch.cat([each.reshape(-1) for each in own])
    dist.reduce(flat, 0)
    return _split(flat, own)


def _split(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = flat.split([each.numel() for each in like])
    return [part.view(each.shape) for part, each in zip(parts, like, strict=True)]


def _total(count: float) -> float:
    number = torch.tensor(count, dtype=torch.float64)
    dist.all_reduce(number)
    return float(number)


def _agreed(flag: bool) -> bool:
    number = torch.tensor(float(flag))
    dist.all_reduce(number, dist.ReduceOp.MIN)
    return bool(number)


class _SumOfAll(torch.autograd.Function):
    """The sum of a tensor over all processes: each summand has the sum of their gradients for its own."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        y = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(y)
        return y

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def _joint(x: Tensor) -> Tensor:
    y: Tensor = _SumOfAll.apply(x)
    return y


SHARED = Whole(_total, _joint, _agreed)
"""The batch is in parts, one a process of the group."""
