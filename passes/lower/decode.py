"""Decoding a weight in front of the nodes that read it: what all forms share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops.binary.decode import byte_bits, float_bits
from dtc.graph import MatrixView, Reader, Role, Site
from dtc.graph.builder import GraphBuilder
from dtc.graph.walk import PASS_THROUGH

Number = TypeVar("Number", bound=np.generic)

HANDS_ON = PASS_THROUGH | {"Transpose", "Cast"}
"""Nodes between an initializer and the node that it is a weight of."""


def feed_readers(site: Site, decode: Callable[[], ir.Value]) -> None:
    """Feed the remaining readers of a site's initializer, if there are any, from `decode`; the initializer goes.

    `decode` gives a value of the initializer's shape and dtype; its nodes are inserted by the caller, first in the
    graph that owns the initializer, so that a weight with several readers is decoded once.
    """
    value, graph = site.value, site.value.graph
    assert graph is not None
    # Readers that were replaced left Transpose and Cast nodes behind, which would count as uses.
    remove_unread(value)
    is_output = value.is_graph_output()
    decoded = decode() if is_output or value.uses() else None
    forget(value)
    if decoded is not None:
        decoded.shape, decoded.type = value.shape, value.type
        value.replace_all_uses_with(decoded, replace_graph_outputs=True)
    # An output of the graph keeps its name.
    if decoded is not None and is_output:
        decoded.name, value.name = value.name, None


def dense_site(value: ir.Value, perm: tuple[int, ...]) -> Site:
    """Return an initializer, `[..., rows, cols]` in the order of `perm`, as a site that its readers need dense."""
    assert value.const_value is not None
    shape = tuple(int(str(size)) for size in value.const_value.shape)
    *lead, rows, cols = (shape[axis] for axis in perm)
    view = MatrixView(perm, math.prod(lead), rows, cols)
    readers = [Reader(node, index, Role.OTHER, tuple(range(len(perm))), view, shape) for node, index in value.uses()]
    return Site(value.name or "", value, tuple(readers))


def arranged(
    builder: GraphBuilder,
    matrices: ir.Value,
    site: Site,
    *,
    shape: tuple[int, ...] | None = None,
    transposed: bool = False,
    dtype: ir.DataType = ir.DataType.FLOAT,
) -> ir.Value:
    """Return a site's decoded matrices in the shape and the dtype of its initializer.

    Args:
        builder: Takes the nodes.
        matrices: The elements, in the order of `[matrices, rows, cols]`.
        site: Says how its initializer is read as matrices.
        shape: That of `matrices`; none: it is not known.
        transposed: `matrices` is the transpose of a single one, which is how the initializer holds it.
        dtype: That of `matrices`.
    """
    wanted, perm = site.value.dtype or ir.DataType.FLOAT, site.view.perm
    # A weight [in 3, out 2] of a MatMul, perm (1, 0), is one matrix [2, 3]: Reshape of [1, 2, 3] to [2, 3], then a
    # Transpose back to [3, 2] by the inverse permutation.
    if not transposed:
        seen = site.view.sizes(site.shape)
        if seen != shape:
            matrices = builder.op("Reshape", [matrices, builder.constant(seen)])
        if perm != tuple(range(len(perm))):
            matrices = builder.op("Transpose", [matrices], perm=[int(axis) for axis in np.argsort(perm)])
        if site.view.parts:
            matrices = builder.op("Reshape", [matrices, builder.constant(site.shape)])
    return matrices if dtype == wanted else builder.op("Cast", [matrices], to=wanted)


def in_place(site: Site, numbers: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Return numbers, one a weight of a site's matrices `[..., rows, cols]`, in the order of the initializer."""
    read = numbers.reshape(site.view.sizes(site.shape)).transpose(np.argsort(site.view.perm))
    return np.ascontiguousarray(read.reshape(site.shape))


def rows_in_place(site: Site, numbers: npt.NDArray[Number]) -> npt.NDArray[Number] | None:
    """Return numbers, one a row of a site's matrices, in a shape that broadcasts against the initializer.

    None where rows are no whole axes of the initializer. A weight [8, 3, 5, 5] of a Conv, whose rows are its first
    axis: [8] becomes [8, 1, 1, 1]. A weight [3, 8] of a MatMul: [1, 8].
    """
    if site.view.parts:
        return None
    seen, rows = [site.shape[axis] for axis in site.view.perm], site.view.count * site.view.rows
    lead = next((n for n in range(len(seen) + 1) if math.prod(seen[:n]) == rows), None)
    if lead is None:
        return None
    return numbers.reshape(seen[:lead] + [1] * (len(seen) - lead)).transpose(np.argsort(site.view.perm))


def bits_of_bytes(builder: GraphBuilder) -> ir.Value:
    """Return the bits of every byte, int32 `[256, 8]`, LSB first, computed once for all sites."""
    return builder.once("bits of bytes", byte_bits)


def float_bits_of_bytes(builder: GraphBuilder) -> ir.Value:
    """Return the bits of every byte, float `[256, 8]`, computed once for all sites."""
    return builder.once("float bits of bytes", float_bits)


def handed_on(value: ir.Value) -> Iterator[ir.Node]:
    """Yield the nodes that only hand a weight on, behind `value`."""
    for node, _ in value.uses():
        if node.domain == "" and node.op_type in HANDS_ON:
            yield node
            yield from handed_on(node.outputs[0])


def remove_unread(value: ir.Value) -> None:
    """Remove the nodes that only handed a weight on to readers which are gone."""
    for node, _ in list(value.uses()):
        if node.domain != "" or node.op_type not in HANDS_ON:
            continue
        # The chain's end first: Cast behind Transpose goes, and then nothing reads the Transpose.
        remove_unread(node.outputs[0])
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            assert node.graph is not None
            node.graph.remove(node, safe=True)


def forget(value: ir.Value) -> None:
    """Remove an initializer that nothing shall read, and the graph input that older models list it as."""
    graph = value.graph
    assert value.name is not None
    assert graph is not None
    del graph.initializers[value.name]
    if value in graph.inputs:
        graph.inputs.remove(value)
