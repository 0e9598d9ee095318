"""The patches of a convolution's input that the kernel is multiplied with (im2col), for second moments."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.forms import AnyArray
from dtc.graph.transposed import transposed_geometry


def patches(x: AnyArray, node: ir.Node, kernel: tuple[int, ...], *, groups: int) -> list[AnyArray]:
    """Return for each group the patches `[n, channels * product(kernel)]` of `x [N, C, *spatial]`.

    Follows the attributes strides, dilations, pads and auto_pad of the ONNX operator Conv.
    """
    dims = len(kernel)
    strides = tuple(node.attributes.get_ints("strides", [1] * dims) or [1] * dims)
    dilations = tuple(node.attributes.get_ints("dilations", [1] * dims) or [1] * dims)
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    padded = np.pad(x, [(0, 0), (0, 0), *_pads(node, x.shape[2:], spans, strides)])
    return _by_group(_windows(padded, kernel, strides, dilations), groups)


def transposed_patches(x: AnyArray, node: ir.Node, kernel: tuple[int, ...], *, groups: int) -> list[AnyArray]:
    """Return for each group what the kernel of a ConvTranspose is multiplied with, for every sample of its output.

    These are the patches `[n, channels * product(kernel)]` of `x [N, C, *spatial]` spread by its strides, the taps in
    the order of the kernel, which runs backwards over them.
    """
    geometry = transposed_geometry(node, list(kernel), lambda axis: int(x.shape[2 + axis]))
    # x = [1, 2] with stride 2 is [1, 0, 2]; with a kernel of 3 and no pads, [0, 0, 1, 0, 2, 0, 0] gives 5 samples.
    sizes = [(size - 1) * stride + 1 for size, stride in zip(x.shape[2:], geometry.strides, strict=True)]
    spread = np.zeros((*x.shape[:2], *sizes), x.dtype)
    spread[(slice(None), slice(None), *(slice(None, None, stride) for stride in geometry.strides))] = x
    pads = list(zip(*geometry.padding(), strict=True))
    padded = np.pad(spread, [(0, 0), (0, 0), *((max(before, 0), max(after, 0)) for before, after in pads)])
    cropped = (slice(max(-before, 0), min(after, 0) or None) for before, after in pads)
    padded = padded[(slice(None), slice(None), *cropped)]
    windows = _windows(padded, kernel, (1,) * len(kernel), tuple(geometry.dilations))
    return _by_group(np.flip(windows, tuple(range(-len(kernel), 0))), groups)


def _windows(
    padded: AnyArray, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> AnyArray:
    """Return the windows `[N, C, *out, *kernel]` of a padded array, a view."""
    # A kernel of 3 taps with dilation 2 spans 5 samples: windows of 5, of which every second is a tap.
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    axes = tuple(range(2, 2 + len(kernel)))
    # A view, not a copy: [N, C, 6] with windows of 3 is seen as [N, C, 4, 3]. Strides and dilations take from it by
    # slices.
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=axes)
    steps = tuple(slice(None, None, stride) for stride in strides)
    taps = tuple(slice(None, None, dilation) for dilation in dilations)
    return np.asarray(windows[(slice(None), slice(None), *steps, *taps)])


def _by_group(windows: AnyArray, groups: int) -> list[AnyArray]:
    dims = (windows.ndim - 2) // 2
    moved = np.moveaxis(windows, 1, 1 + dims)  # [N, *out, C, *kernel]
    # Of [N, *out, C, *kernel] the channels lie group by group: 8 of them in 2 groups are [n, 2, 4 * taps].
    flat = moved.reshape(-1, groups, windows.shape[1] // groups * int(np.prod(windows.shape[2 + dims :])))
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
