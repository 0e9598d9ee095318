"""Operators that draw, each from the seed of the step and its own place: a step that is repeated draws the same."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dtc.training.draws import draw_mask, step_seed
from dtc.training.engines.torch.calls import Call, operator
from dtc.training.engines.torch.dtypes import dtype_of
from dtc.training.engines.torch.placement import HOST


@operator("Dropout", numbers=(1, 2))
def _dropout(call: Call, x: Tensor, ratio: Tensor | None = None, *_: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    # The third input says whether the exported model drops; here the run decides.
    share = call.real("ratio", 0.5) if call.version < 12 else 0.5 if ratio is None else float(ratio)
    if not call.moment.training or not share:
        kept = torch.ones_like(x, dtype=torch.bool)
        return (x, kept) if call.wants(1) else x
    mask = _mask(x, share, call)
    return (x * mask, mask != 0) if call.wants(1) else x * mask


def _mask(x: Tensor, share: float, call: Call) -> Tensor:
    """Return 0 with probability `share`, else 1 / (1 - share), where `x` lies.

    In host memory it is the mask of all engines; a device draws its own, as drawing here takes longer than the step.
    """
    if x.device == HOST:
        return torch.from_numpy(draw_mask(tuple(x.shape), share, call.moment.seed, call.number)).to(x.dtype)
    source = device_source(x.device, step_seed(call.moment.seed, call.number))
    kept = torch.empty_like(x).bernoulli_(1 - share, generator=source)
    return kept.mul_(1 / (1 - share)) if share < 1 else kept


def device_source(device: torch.device, seed: int) -> torch.Generator:
    """Return what draws on a device, at the beginning of a seed's numbers."""
    return torch.Generator(device).manual_seed(seed)


def _generator(call: Call) -> np.random.Generator:
    kind = sum(call.node.op_type.encode())
    return np.random.Generator(np.random.SFC64([call.moment.seed, kind, call.number]))


def _drawn(call: Call, shape: list[int], dtype: torch.dtype) -> Tensor:
    draw = _generator(call)
    if call.node.op_type.startswith("RandomNormal"):
        numbers = draw.normal(call.real("mean"), call.real("scale", 1.0), shape)
    else:
        numbers = draw.uniform(call.real("low"), call.real("high", 1.0), shape)
    return torch.from_numpy(np.asarray(numbers)).to(dtype)


@operator("RandomNormal", "RandomUniform", differentiable=False, draws=True)
def _of_shape(call: Call) -> Tensor:
    return _drawn(call, call.integers("shape") or [], dtype_of(call.integer("dtype", 1)))


@operator("RandomNormalLike", "RandomUniformLike", differentiable=False, draws=True)
def _like(call: Call, x: Tensor) -> Tensor:
    dtype = dtype_of(call.integer("dtype")) if call.has("dtype") else x.dtype
    return _drawn(call, list(x.shape), dtype).to(x.device)


@operator("Bernoulli", differentiable=False, draws=True)
def _bernoulli(call: Call, x: Tensor) -> Tensor:
    dtype = dtype_of(call.integer("dtype")) if call.has("dtype") else x.dtype
    return (torch.from_numpy(_generator(call).random(tuple(x.shape))).to(x.device) < x).to(dtype)


@operator("Multinomial", differentiable=False, draws=True)
def _multinomial(call: Call, x: Tensor) -> Tensor:
    cumulative = torch.softmax(x.double(), -1).cumsum(-1).contiguous()
    draws = torch.from_numpy(_generator(call).random((x.shape[0], call.integer("sample_size", 1)))).to(x.device)
    return torch.searchsorted(cumulative, draws).clamp(max=x.shape[1] - 1).to(dtype_of(call.integer("dtype", 6)))
