"""The device that the engine computes on, opened or refused in one line, and how it computes there."""

from __future__ import annotations

import os

import torch

from dtc.errors import EngineError


def open_device(name: str, precision: str) -> torch.device:
    """Return the device of that name.

    Raises:
        EngineError: This torch, or this machine, has no such device, or it lacks the precision.
    """
    device = torch.device(name)
    reason = {"cuda": _no_cuda, "mps": _no_mps}.get(device.type, lambda _: None)(device)
    if reason is not None:
        raise EngineError(f"--device {name}: {reason}")
    if device.type == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise EngineError(f"--precision bf16: {torch.cuda.get_device_name(device)} has no bfloat16; take fp16")
    return device


def compute_alike() -> None:
    """Let the same step give the same bits in this process, as a run has to that goes on after an interruption.

    Where torch has no such way for an operator it says so once, in the worker's log. Without this several threads, or a
    GPU, add up in any order.
    """
    # torch.use_deterministic_algorithms does the same, and imports a compiler, which takes two seconds.
    torch.set_deterministic_debug_mode("warn")
    # What is allocated is written before it is read: filling it first takes time, and helps to find mistakes alone.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # cuBLAS reads it when it is first used; recurrent layers of cuDNN need it too.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def _no_cuda(device: torch.device) -> str | None:
    if not torch.backends.cuda.is_built():
        return f"this torch, {torch.__version__}, has no CUDA; install one that has, or take --device cpu"
    count = torch.cuda.device_count()
    if not count:
        return "torch finds no GPU on this machine (see nvidia-smi); take --device cpu"
    if device.index is not None and device.index >= count:
        return f"this machine has {count} GPUs, numbered from 0"
    return None


def _no_mps(_: torch.device) -> str | None:
    if not torch.backends.mps.is_built():
        return f"this torch, {torch.__version__}, has no MPS, which is of Macs; take --device cpu"
    return None if torch.backends.mps.is_available() else "this machine has no MPS; take --device cpu"
