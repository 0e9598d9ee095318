"""The patches of a convolution's input that the kernel is multiplied with (im2col), for second moments."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.forms import AnyArray


def patches(x: AnyArray, node: ir.Node, kernel: tuple[int, ...], *, groups: int) -> list[AnyArray]:
    """Return for each group the patches `[n, channels * product(kernel)]` of `x [N, C, *spatial]`.

    Follows the attributes strides, dilations, pads and auto_pad of the ONNX operator Conv.
    """
    # A kernel of 3 taps with dilation 2 spans 5 samples: windows of 5, of which every second is a tap.
    dims = len(kernel)
    strides = tuple(node.attributes.get_ints("strides", [1] * dims) or [1] * dims)
    dilations = tuple(node.attributes.get_ints("dilations", [1] * dims) or [1] * dims)
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    padded = np.pad(x, [(0, 0), (0, 0), *_pads(node, x.shape[2:], spans, strides)])
    axes = tuple(range(2, 2 + dims))
    # A view, not a copy: [N, C, 6] with windows of 3 is seen as [N, C, 4, 3]. Strides and dilations take from it by
    # slices.
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=axes)
    steps = tuple(slice(None, None, stride) for stride in strides)
    taps = tuple(slice(None, None, dilation) for dilation in dilations)
    windows = windows[(slice(None), slice(None), *steps, *taps)]  # [N, C, *out, *kernel]
    moved = np.moveaxis(windows, 1, 1 + dims)  # [N, *out, C, *kernel]
    # Of [N, *out, C, *kernel] the channels lie group by group: 8 of them in 2 groups are [n, 2, 4 * taps].
    channels = x.shape[1] // groups
    flat = moved.reshape(-1, groups, channels * int(np.prod(kernel)))
    return [flat[:, group] for group in range(groups)]


def _pads(
    node: ir.Node, sizes: tuple[int, ...], spans: tuple[int, ...], strides: tuple[int, ...]
) -> list[tuple[int, int]]:
    # SAME: as many outputs as size / stride, rounded up; an odd sample of padding goes to the end (UPPER) or the start.
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = node.attributes.get_ints("pads", [0] * 2 * len(sizes)) or [0] * 2 * len(sizes)
        return [(pads[axis], pads[axis + len(sizes)]) for axis in range(len(sizes))]
    if mode == "VALID":
        return [(0, 0)] * len(sizes)
    result = []
    for size, span, stride in zip(sizes, spans, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
        small, large = total // 2, total - total // 2
        result.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return result
