"""Explicit padding of convolutions: the gradient of Conv in the training build ignores `auto_pad`.

With `auto_pad` left in place, ConvGrad reads memory that nobody wrote and gives a wrong gradient without a word.
"""

from __future__ import annotations

import onnx_ir as ir

from dtc.errors import EngineError

_PADDED = frozenset({"Conv", "MaxPool", "AveragePool"})


def make_padding_explicit(model: ir.Model) -> None:
    """Replace `auto_pad` by the `pads` that it means.

    Raises:
        EngineError: The padding depends on an input size that is not static; names the node.
    """
    for node in model.graph:
        if node.op_type not in _PADDED or node.domain:
            continue
        mode = node.attributes.get_string("auto_pad", "NOTSET") or "NOTSET"
        if mode == "NOTSET":
            continue
        # VALID means no pads, which is what a node without the attribute has.
        del node.attributes["auto_pad"]
        if mode.startswith("SAME"):
            node.attributes["pads"] = ir.AttrInt64s("pads", _same_pads(node, upper=mode == "SAME_UPPER"))


def _same_pads(node: ir.Node, *, upper: bool) -> list[int]:
    kernel = _kernel(node)
    rank = len(kernel)
    strides = list(node.attributes.get_ints("strides", ()) or [1] * rank)
    dilations = list(node.attributes.get_ints("dilations", ()) or [1] * rank)
    before, after = [], []
    for axis in range(rank):
        # 3 taps with dilation 2 reach over 5 samples. With stride 1 as many outputs as inputs need 4 samples of
        # padding, whatever the size; else ceil(size / stride) outputs: size 5, reach 3, stride 2 gives 3 of them and
        # needs (3 - 1) 2 + 3 - 5 = 2.
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        if strides[axis] == 1:
            total = reach - 1
        else:
            size = _size(node, axis + 2)
            steps = -(-size // strides[axis])
            total = max((steps - 1) * strides[axis] + reach - size, 0)
        # An odd sample goes to the end (UPPER) or to the start (LOWER).
        small, large = total // 2, total - total // 2
        before.append(small if upper else large)
        after.append(large if upper else small)
    return before + after


def _kernel(node: ir.Node) -> list[int]:
    given = node.attributes.get_ints("kernel_shape", ())
    if given:
        return list(given)
    weight = node.inputs[1]
    assert weight is not None
    assert weight.shape is not None
    return [int(str(size)) for size in weight.shape[2:]]


def _size(node: ir.Node, axis: int) -> int:
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    size = None if shape is None else shape[axis]
    if not isinstance(size, int):
        raise EngineError(
            f"node {node.name!r} ({node.op_type}): auto_pad with strides needs a static input size; export the model "
            "with fixed height and width, or with explicit pads"
        )
    return size
