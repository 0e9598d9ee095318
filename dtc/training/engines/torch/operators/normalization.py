"""Normalizations, and the functions that make probabilities of scores."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dtc.training.engines.torch.calls import MICROSOFT, Call, operator
from dtc.training.engines.torch.poles import stopped, zero


@operator("BatchNormalization")
def _batch(
    call: Call, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor | tuple[Tensor, ...]:
    epsilon = call.real("epsilon", 1e-5)
    if call.integer("training_mode"):
        return _batch_in_training(call, x, scale, bias, mean, variance)
    if call.node in call.moment.by_batch:
        if call.moment.collected is not None:
            axes = [0, *range(2, x.dim())]
            found = x.mean(axes), x.var(axes, unbiased=False)
            call.moment.collected.append((call.node, *found, x.numel() // x.shape[1]))
        if call.moment.joint is not None:
            return _batch_of_parts(x, scale, bias, epsilon, call.moment.joint)
        return F.batch_norm(x, None, None, scale, bias, True, 0, epsilon)
    if call.version < 9 and not call.integer("spatial", 1):
        y = (x - mean) / torch.sqrt(variance + epsilon) * scale + bias
        return y.to(x.dtype)
    return F.batch_norm(
        x, mean.to(x.dtype), variance.to(x.dtype), scale.to(x.dtype), bias.to(x.dtype), False, 0, epsilon
    )


def _batch_of_parts(
    x: Tensor, scale: Tensor, bias: Tensor, epsilon: float, joint: Callable[[Tensor], Tensor]
) -> Tensor:
    """Normalise by the moments of all parts of a batch, of which `x` is one; `joint` sums over the parts."""
    axes, shape = [0, *range(2, x.dim())], [1, -1] + [1] * (x.dim() - 2)
    wide = x.float()
    # The mean first, then the squares about it: a difference of two large sums would lose the variance.
    sums = joint(torch.cat([wide.sum(axes), wide.new_full([1], x.numel() / x.shape[1])]))
    centred = wide - (sums[:-1] / sums[-1]).reshape(shape)
    variance = joint(centred.square().sum(axes)) / sums[-1]
    factor = scale * torch.rsqrt(variance + epsilon)
    return (centred * factor.reshape(shape) + bias.reshape(shape)).to(x.dtype)


def _batch_in_training(
    call: Call, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> tuple[Tensor, ...]:
    """The node itself says that it normalises by the batch; then it also gives the running statistics."""
    axes = [0, *range(2, x.dim())]
    own_mean, own_variance = x.mean(axes), x.var(axes, unbiased=False)
    momentum = call.real("momentum", 0.9)
    y = F.batch_norm(x, None, None, scale, bias, True, 0, call.real("epsilon", 1e-5))
    return y, momentum * mean + (1 - momentum) * own_mean, momentum * variance + (1 - momentum) * own_variance


@operator("LayerNormalization")
def _layer(call: Call, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
    axis, epsilon = call.integer("axis", -1) % x.dim(), call.real("epsilon", 1e-5)
    if not call.wants(1) and not call.wants(2) and scale.shape == x.shape[axis:]:
        return F.layer_norm(x, x.shape[axis:], scale, bias, epsilon)
    axes = list(range(axis, x.dim()))
    wide = x.float() if x.dtype is not torch.float64 else x
    mean = wide.mean(axes, keepdim=True)
    inverse = torch.rsqrt((wide - mean).square().mean(axes, keepdim=True) + epsilon)
    y = ((wide - mean) * inverse).to(x.dtype) * scale
    return y if bias is None else y + bias, mean, inverse


@operator("RMSNormalization")
@operator("SimplifiedLayerNormalization")
@operator("SimplifiedLayerNormalization", domain=MICROSOFT)
def _root_mean_square(call: Call, x: Tensor, scale: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    axes = list(range(call.integer("axis", -1) % x.dim(), x.dim()))
    wide = x.float() if x.dtype is not torch.float64 else x
    inverse = torch.rsqrt(wide.square().mean(axes, keepdim=True) + call.real("epsilon", 1e-5))
    y = (wide * inverse).to(x.dtype) * scale
    return (y, inverse) if call.wants(1) else y


@operator("SkipLayerNormalization", domain=MICROSOFT)
def _skip_layer(
    call: Call, x: Tensor, skip: Tensor, gamma: Tensor, beta: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Tensor, ...]:
    total = x + skip if bias is None else x + skip + bias
    y = F.layer_norm(total, total.shape[-1:], gamma, beta, call.real("epsilon", 1e-12))
    return y, total.new_empty(0), total.new_empty(0), total


@operator("InstanceNormalization")
def _instance(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, eps=call.real("epsilon", 1e-5))


@operator("GroupNormalization")
def _group(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = call.integer("num_groups", 1)
    # Before opset 21 scale and bias are of the groups, since then of the channels.
    if scale.numel() != x.shape[1]:
        scale, bias = (each.repeat_interleave(x.shape[1] // groups) for each in (scale, bias))
    return F.group_norm(x, groups, scale, bias, call.real("epsilon", 1e-5))


@operator("LRN")
def _local_response(call: Call, x: Tensor) -> Tensor:
    size, alpha = call.integer("size", 1), call.real("alpha", 1e-4)
    before = (size - 1) // 2
    squares = F.pad(x.square().movedim(1, -1), [before, size - 1 - before])
    total = squares.unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    return x / (call.real("bias", 1.0) + alpha / size * total) ** call.real("beta", 0.75)


@operator("LpNormalization")
def _lp(call: Call, x: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(x, call.integer("p", 2), call.integer("axis", -1), keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / torch.where(norm == 0, torch.ones_like(norm), norm))


@operator("MeanVarianceNormalization")
def _mean_variance(call: Call, x: Tensor) -> Tensor:
    axes = call.integers("axes") or [0, 2, 3]
    mean = x.mean(axes, keepdim=True)
    deviation = torch.sqrt(stopped(x.square().mean(axes, keepdim=True) - mean.square(), zero))
    return (x - mean) / (deviation + 1e-9)


@operator("Softmax")
def _softmax(call: Call, x: Tensor) -> Tensor:
    return _over_classes(call, x, torch.softmax)


@operator("LogSoftmax")
def _log_softmax(call: Call, x: Tensor) -> Tensor:
    return _over_classes(call, x, torch.log_softmax)


@operator("Hardmax", differentiable=False)
def _hardmax(call: Call, x: Tensor) -> Tensor:
    def first_of_the_largest(scores: Tensor, axis: int) -> Tensor:
        return torch.zeros_like(scores).scatter(axis, scores.argmax(axis, keepdim=True), 1.0)

    return _over_classes(call, x, first_of_the_largest)


def _over_classes(call: Call, x: Tensor, function: object) -> Tensor:
    """Apply a function of scores and an axis; before opset 13 all axes from `axis` on are one."""
    assert callable(function)
    if call.version >= 13:
        result: Tensor = function(x, call.integer("axis", -1))
        return result
    axis = call.integer("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    flat: Tensor = function(x.reshape(math.prod(x.shape[:axis]), -1), 1)
    return flat.reshape(x.shape)
