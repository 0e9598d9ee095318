"""ConvTranspose as an ordinary convolution: the training build has no CPU kernel for the gradient of ConvTranspose.

It is one of stride 1 over the input with `stride - 1` zeros after each sample (`dtc.graph.transposed`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from dtc.errors import EngineError
from dtc.graph.builder import Builder, Shared, replace_node
from dtc.graph.transposed import TransposedGeometry, transposed_geometry


def expand_transposed(model: ir.Model, shared: Shared) -> None:
    """Rewrite every ConvTranspose.

    Raises:
        EngineError: Its weight has no static shape, or `output_shape` depends on an input size that is not static.
    """
    for node in list(model.graph):
        if node.op_type == "ConvTranspose" and node.domain == "":
            _expand(node, shared)


def _expand(node: ir.Node, shared: Shared) -> None:
    """Replace a ConvTranspose by Pad and Reshape (zeros between the samples), and Conv with the flipped kernel.

    One axis, kernel [a, b, c], stride 2, no pads, x = [1, 2]: the samples spread to [1, 0, 2, 0], of which the last
    zero counts as padding; padded by k - 1 = 2 on the left and 1 on the right they are [0, 0, 1, 0, 2, 0, 0]; the
    flipped kernel [c, b, a] over it gives [a, b, c + 2 a, 2 b, 2 c].
    """
    data, weight, *bias = node.inputs
    if data is None or weight is None or weight.shape is None or not weight.shape.is_static():
        raise EngineError(f"node {node.name!r} (ConvTranspose): its weight has no static shape")
    sizes = [int(str(size)) for size in weight.shape]
    geometry = transposed_geometry(node, sizes[2:], lambda axis: _size(node, axis + 2))
    build = shared.builder(str(node.name))
    # 1. Zeros between the samples.
    spread = _spread(build, data, geometry)
    # 2. The padding. The zeros after the last sample count as padding that is there already.
    before, after = geometry.padding()
    pads = before + [pad - (stride - 1) for pad, stride in zip(after, geometry.strides, strict=True)]
    # Conv has no negative pads: what is to be cropped is taken off before it.
    if min(pads) < 0:
        crop = [min(pad, 0) for pad in pads]
        rank = len(geometry.kernel)
        spread = build.op("Pad", [spread, build.constant([0, 0, *crop[:rank], 0, 0, *crop[rank:]])])
    # 3. The convolution of stride 1.
    inputs = [spread, _flipped(build, weight, sizes, geometry.group), *bias]
    result = build.op(
        "Conv",
        inputs,
        kernel_shape=geometry.kernel,
        pads=[max(pad, 0) for pad in pads],
        dilations=geometry.dilations,
        group=geometry.group,
    )
    replace_node(node, build, {node.outputs[0]: result})


def _spread(build: Builder, data: ir.Value, geometry: TransposedGeometry) -> ir.Value:
    """Return the input with `stride - 1` zeros after each sample of each spatial axis."""
    if set(geometry.strides) == {1}:
        return data
    # [N, C, 2, 3] with strides 2, 2: as [N, C, 2, 1, 3, 1], padded to [N, C, 2, 2, 3, 2], read as [N, C, 4, 6].
    rank = len(geometry.strides)
    columns = build.unsqueeze(data, range(3, 3 + 2 * rank, 2))
    after = [size for stride in geometry.strides for size in (0, stride - 1)]
    padded = build.op("Pad", [columns, build.constant([0] * (2 + 2 * rank) + [0, 0, *after])])
    shape = build.op("Mul", [build.op("Shape", [data]), build.constant([1, 1, *geometry.strides])])
    return build.op("Reshape", [padded, shape])


def _flipped(build: Builder, weight: ir.Value, sizes: Sequence[int], group: int) -> ir.Value:
    """Return a weight `[in, out/group, ...]` as `[out, in/group, ...]`, each kernel flipped along all its axes."""
    # [4, 3, 5] in 2 groups: as [2, 2, 3, 5], channels swapped [2, 3, 2, 5], taps reversed, read as [6, 2, 5].
    enter, leave, *kernel = sizes
    count = int(np.prod(kernel))
    grouped = build.op("Reshape", [weight, build.constant([group, enter // group, leave, count])])
    swapped = build.op("Transpose", [grouped], perm=[0, 2, 1, 3])
    # A product with the exchange matrix reverses the taps; Slice with a negative step has no gradient that runs.
    if count > 1:
        flat = build.op("Reshape", [swapped, build.constant([-1, count])])
        swapped = build.op("MatMul", [flat, build.constant(np.eye(count, dtype=np.float32)[::-1].copy())])
    return build.op("Reshape", [swapped, build.constant([group * leave, enter // group, *kernel])])


def _size(node: ir.Node, axis: int) -> int:
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    size = None if shape is None else shape[axis]
    if not isinstance(size, int):
        raise EngineError(
            f"node {node.name!r} (ConvTranspose): output_shape needs a static input size to be trained; export the "
            "model with fixed height and width, or with explicit pads"
        )
    return size
