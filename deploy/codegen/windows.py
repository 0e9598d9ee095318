"""Windows that move over axes: those of convolutions and of pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dtc.deploy.codegen.compiling import NodeCompiling


@dataclass
class Windows:
    """Sizes and places of windows, a number for each axis that they move over.

    Attributes:
        kernel: Numbers of a window.
        stride: From one window to the next.
        dilation: From one number of a window to the next.
        before: Padding in front.
        after: Padding behind.
        auto: The node's `auto_pad`.
    """

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    before: list[int]
    after: list[int]
    auto: str

    def members(self) -> dict[str, list[int]]:
        """Return what kernels of convolutions are told, for two axes."""
        return {
            "kernel": two(self.kernel, 1),
            "stride": two(self.stride, 1),
            "dilation": two(self.dilation, 1),
            "before": two(self.before, 0),
        }


def two(numbers: Sequence[int], first: int) -> list[int]:
    """Return the numbers of one or two axes as those of two: of one, `first` is that of the other in front."""
    return [first, *numbers] if len(numbers) == 1 else list(numbers)


def windows(at: NodeCompiling, sizes: Sequence[int], kernel: Sequence[int]) -> Windows:
    """Return the windows of a node over axes of those sizes."""
    attributes, axes = at.node.attributes, len(sizes)
    stride = list(attributes.get_ints("strides", [1] * axes))
    dilation = list(attributes.get_ints("dilations", [1] * axes))
    pads = list(attributes.get_ints("pads", [0] * (2 * axes)))
    auto = attributes.get_string("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        pads = _same(sizes, kernel, stride, dilation, at_end=auto == "SAME_UPPER")
    elif auto == "VALID":
        pads = [0] * (2 * axes)
    if min(pads) < 0:
        raise at.refuse("negative pads are not there")
    return Windows(list(kernel), stride, dilation, pads[:axes], pads[axes:], auto)


def _same(
    sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], *, at_end: bool
) -> list[int]:
    """Return the pads of a result of size / stride numbers, rounded up; an odd one is at the end or in front."""
    before, after = [], []
    for axis, size in enumerate(sizes):
        count = -(-size // stride[axis])
        total = max(0, (count - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 - size)
        less, more = total // 2, total - total // 2
        before.append(less if at_end else more)
        after.append(more if at_end else less)
    return before + after
