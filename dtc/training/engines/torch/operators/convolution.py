"""Convolutions, in one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dtc.training.engines.torch.calls import Call, integers_of, operator

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@operator("Conv")
def _convolution(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    rank = x.dim() - 2
    strides, dilations = window(call, "strides", rank), window(call, "dilations", rank)
    before, after = pads_of(call, x.shape[2:], weight.shape[2:], strides, dilations)
    # Torch pads both sides alike; what differs is padded here.
    if before != after:
        x, before = padded(x, before, after), [0] * rank
    if rank == 2 and x.device.type == "cpu":
        # Channels innermost, as the kernels there want them: where they are not, each convolution would copy there and
        # back. What follows keeps the order.
        x = x.contiguous(memory_format=torch.channels_last)
    return _CONVOLUTIONS[rank](x, weight, bias, strides, before, dilations, call.integer("group", 1))


@operator("ConvTranspose")
def _transposed_convolution(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    rank = x.dim() - 2
    strides, dilations = window(call, "strides", rank), window(call, "dilations", rank)
    extra = call.integers("output_padding") or [0] * rank
    # The whole output, of which the pads are cropped: torch crops both sides alike. For strides 2, a kernel of 3 and 4
    # inputs it has (4 - 1) 2 + 3 = 9 places.
    whole = _TRANSPOSED[rank](x, weight, None, strides, 0, 0, call.integer("group", 1), dilations)
    sizes = [size + more for size, more in zip(whole.shape[2:], extra, strict=True)]
    before, after = _cropped(call, x, sizes, strides)
    # What lies beyond the whole output is zero: a negative pad crops, a positive one fills.
    further = [more - end for end, more in zip(after, extra, strict=True)]
    y = padded(whole, [-start for start in before], further)
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def _cropped(call: Call, x: Tensor, whole: Sequence[int], strides: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return how much is cropped before and after, along each axis, of an output of the sizes `whole`."""
    mode, shape = call.text("auto_pad", "NOTSET"), call.integers("output_shape")
    if shape is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        shape = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
    if shape is not None:
        total = [size - wanted for size, wanted in zip(whole, shape[-len(whole) :], strict=True)]
        # By the specification half of it, rounded down, is at the start for SAME_UPPER, else at the end.
        less = [each // 2 for each in total]
        more = [each - half for each, half in zip(total, less, strict=True)]
        return (less, more) if mode == "SAME_UPPER" else (more, less)
    pads = call.integers("pads") or [0] * (2 * len(whole))
    return pads[: len(whole)], pads[len(whole) :]


@operator("ConvInteger", differentiable=False)
def _convolution_of_integers(
    call: Call, x: Tensor, weight: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    # In double precision, which holds these integers exactly. Pads are of the zero point, hence zero once it is off.
    data = x.double() - (0 if x_zero is None else x_zero.double())
    kernel = weight.double()
    if w_zero is not None:
        kernel = kernel - w_zero.double().reshape(-1, *[1] * (weight.dim() - 1) if w_zero.numel() > 1 else [1])
    return _convolution(call, data, kernel).to(torch.int32)


@operator("Col2Im", numbers=(1, 2))
def _image_of_columns(call: Call, x: Tensor, image: Tensor, block: Tensor) -> Tensor:
    size, kernel = integers_of(image), integers_of(block)
    rank = len(size)
    pads = call.integers("pads") or [0] * (2 * rank)
    if rank != 2 or pads[:rank] != pads[rank:]:
        raise call.refuse("the torch engine has Col2Im in two dimensions, padded alike on both sides")
    return F.fold(x, size, kernel, window(call, "dilations", 2), pads[:2], window(call, "strides", 2))


def window(call: Call, name: str, rank: int) -> list[int]:
    """Return an attribute with a number for each dimension, ones where it is left out."""
    return call.integers(name) or [1] * rank


def pads_of(
    call: Call, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return the pads before and after along each dimension, whether they are given or follow from `auto_pad`."""
    rank, mode = len(kernel), call.text("auto_pad", "NOTSET")
    if mode == "VALID":
        return [0] * rank, [0] * rank
    if mode == "NOTSET":
        pads = call.integers("pads") or [0] * (2 * rank)
        return pads[:rank], pads[rank:]
    before, after = [], []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        # As many outputs as strides fit: of 7 places and stride 2 these are 4.
        reach = (width - 1) * dilation + 1
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        # An odd pad is at the end for SAME_UPPER, at the start for SAME_LOWER.
        start = total // 2 if mode == "SAME_UPPER" else total - total // 2
        before.append(start)
        after.append(total - start)
    return before, after


def padded(x: Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Tensor:
    """Return `x` padded along its last dimensions; itself where there is nothing to pad, which torch would copy."""
    if not any((*before, *after)):
        return x
    sides = [number for pair in reversed(list(zip(before, after, strict=True))) for number in pair]
    return F.pad(x, sides, value=value)
