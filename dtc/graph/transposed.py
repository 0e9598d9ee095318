"""The geometry of ConvTranspose, as of the convolution of stride 1 that it is.

A transposed convolution is the gradient of a convolution, hence a convolution of stride 1 over the input with
`stride - 1` zeros between the samples, with the kernel flipped and its channels swapped (V. Dumoulin, F. Visin, A
guide to convolution arithmetic for deep learning, 2016, arXiv 1603.07285, section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True)
class TransposedGeometry:
    """Sizes by spatial axis; `before` and `after` are the pads of the transposed convolution, which crop its output."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    extra: list[int]
    before: list[int]
    after: list[int]
    group: int

    def padding(self) -> tuple[list[int], list[int]]:
        """Return the pads of the convolution of stride 1 over the spread input; what is negative crops that."""
        reach = [(k - 1) * d for k, d in zip(self.kernel, self.dilations, strict=True)]
        before = [r - b for r, b in zip(reach, self.before, strict=True)]
        return before, [r - a + e for r, a, e in zip(reach, self.after, self.extra, strict=True)]


def transposed_geometry(node: ir.Node, kernel: list[int], size: Callable[[int], int]) -> TransposedGeometry:
    """Return the geometry of a ConvTranspose; `size` tells how many samples its input has along a spatial axis.

    That is asked for only where padding follows from the size of the output.
    """
    rank = len(kernel)

    def numbers(name: str, otherwise: int, count: int = rank) -> list[int]:
        return [int(n) for n in node.attributes.get_ints(name, ()) or [otherwise] * count]

    strides, dilations, extra = numbers("strides", 1), numbers("dilations", 1), numbers("output_padding", 0)
    pads = numbers("pads", 0, 2 * rank)
    mode = node.attributes.get_string("auto_pad", "NOTSET") or "NOTSET"
    wanted = node.attributes.get_ints("output_shape", ())
    before, after = pads[:rank], pads[rank:]
    # Pads are given, or follow from the size of the output, which `output_shape` names and SAME makes n times s.
    if wanted or mode.startswith("SAME"):
        for axis in range(rank):
            # Without padding a side of n samples becomes (n - 1) s + (k - 1) d + 1 + extra long.
            total = (kernel[axis] - 1) * dilations[axis] + 1 + extra[axis] - strides[axis]
            if wanted:
                total += size(axis) * strides[axis] - int(wanted[axis - rank])
            # n = 4 samples, k = 3, s = 2, wanted 8: without padding 9, so total is 1, of which the start has 0 and the
            # end 1 (UPPER).
            small = max(total, 0) // 2
            large = max(total, 0) - small
            before[axis], after[axis] = (small, large) if mode == "SAME_UPPER" else (large, small)
    elif mode == "VALID":
        before, after = [0] * rank, [0] * rank
    group = node.attributes.get_int("group", 1) or 1
    return TransposedGeometry(kernel, strides, dilations, extra, before, after, int(group))
