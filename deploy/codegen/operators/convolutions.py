"""Conv and ConvTranspose of one or two axes, grouped and dilated, weights in any form."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dtc.deploy.codegen.compiling import NodeCompiling
from dtc.deploy.codegen.program import AnyArray, Struct, Tensor
from dtc.deploy.codegen.windows import Windows, two, windows

_BEYOND = 8
"""DTC_BEYOND of the kernels."""


def _shape(x: Tensor, y: Tensor, groups: int, found: Windows, most: int = 1) -> Struct:
    members = {
        "batch": x.shape[0],
        "in": x.shape[1],
        "out": y.shape[1],
        "groups": groups,
        "size": two(x.shape[2:], 1),
        "result": two(y.shape[2:], 1),
        **found.members(),
    }
    return Struct("dtc_conv_shape", {**members, "most": most})


def _conv(at: NodeCompiling) -> None:
    x, kernel, y = _operands(at)
    groups = at.node.attributes.get_int("group", 1)
    found = windows(at, x.shape[2:], kernel.shape[2:])
    matrix = kernel.reshape(len(kernel), -1)
    bias = at.floats(at.constant(2, "the bias")) if at.has(2) else None
    if groups == x.shape[1] == y.shape[1]:
        weight = at.table(matrix)
        memory = at.memory([weight.cols + _reach(y, found) + _BEYOND])
        shape = _shape(x, y, groups, found)
        at.call("dtc_conv_depthwise", shape, weight, bias, x, y, memory, multiply_adds=y.size * weight.cols)
        return
    weight, places = at.weight(matrix), math.prod(y.shape[2:])
    if weight.several is None or places < weight.several.least:
        memory = at.memory([weight.cols + len(kernel) // groups + weight.scratch])
        work = x.shape[0] * places * weight.multiply_adds
        at.call("dtc_conv_few", _shape(x, y, groups, found), weight, bias, x, y, memory, multiply_adds=work)
        return
    most = at.graph.kernels.together(places, weight.cols)
    shape, memory = _shape(x, y, groups, found, most), at.memory([most * weight.cols + weight.several.scratch])
    work = y.size // y.shape[1] * weight.several.multiply_adds
    at.call("dtc_conv", shape, weight, bias, x, y, memory, multiply_adds=work)


def _reach(y: Tensor, found: Windows) -> int:
    """Return the numbers of a channel that windows reach, with the padding between and around them."""
    axes = zip(y.shape[2:], found.kernel, found.stride, found.dilation, strict=True)
    return math.prod((count - 1) * stride + (kernel - 1) * dilation + 1 for count, kernel, stride, dilation in axes)


def _conv_transpose(at: NodeCompiling) -> None:
    x, kernel, y = _operands(at)
    groups = at.node.attributes.get_int("group", 1)
    found = windows(at, x.shape[2:], kernel.shape[2:])
    # [in, out / groups, kernel] -> of each group [out / groups * kernel, in / groups], one below the other
    inner = len(kernel) // groups
    matrix = kernel.reshape(groups, inner, -1).transpose(0, 2, 1).reshape(-1, inner)
    weight = at.weight(matrix)
    bias = at.floats(at.constant(2, "the bias")) if at.has(2) else None
    found.before = _cut_in_front(at, x, kernel.shape[2:], y, found)
    shape, memory = _shape(x, y, groups, found), at.memory([inner + len(matrix) // groups + weight.scratch])
    work = x.size // x.shape[1] * weight.multiply_adds
    at.call("dtc_conv_transpose", shape, weight, bias, x, y, memory, multiply_adds=work)


def _operands(at: NodeCompiling) -> tuple[Tensor, AnyArray, Tensor]:
    x, kernel = at.tensor(0), at.constant(1, "the weights")
    at.expect_float(x)
    if not 1 <= len(x.shape) - 2 <= 2:
        raise at.refuse(f"it is over {len(x.shape) - 2} axes; there are one and two")
    return x, kernel, at.output()


def _cut_in_front(at: NodeCompiling, x: Tensor, kernel: Sequence[int], y: Tensor, found: Windows) -> list[int]:
    """Return how many numbers of the whole result are cut off in front, in each axis."""
    extra = at.node.attributes.get_ints("output_padding", [0] * len(kernel))
    asked = "output_shape" in at.node.attributes or found.auto.startswith("SAME")
    if not asked:
        return found.before
    cut = []
    for axis, size in enumerate(y.shape[2:]):
        reach = (kernel[axis] - 1) * found.dilation[axis] + 1
        # What is missing of a larger result is zeros at its end.
        total = max(0, found.stride[axis] * (x.shape[2 + axis] - 1) + extra[axis] + reach - size)
        # ONNX: the larger half is cut at the end with SAME_UPPER, in front otherwise.
        cut.append(total // 2 if found.auto == "SAME_UPPER" else total - total // 2)
    return cut


COMPILERS = {"Conv": _conv, "ConvTranspose": _conv_transpose}
