"""Binary codes for MatMul as sign planes of INT2: one DequantizeLinear a plane, products joined by Sum.

ONNX Runtime from opset 25 on fuses each plane into a MatMulNBits, and the weight stays packed in memory. The caveats,
to be told whenever this is chosen: the file holds 2 bits for each sign; a runtime that knows opset 25 is needed; and
ONNX Runtime computes the fused products with activations rounded to 8 bits (relative error near 0.006).
Sum and not Add: MatMul and Add would become a Gemm before the fusion is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.forms.binary import unpack_bits
from dtc.graph import Reader, Site
from dtc.graph.builder import GraphBuilder, Shared, replace_node
from dtc.graph.opset import require_opset
from dtc.passes.lower import Compressed, found_again
from dtc.passes.lower.binary import lowering as portable
from dtc.passes.lower.binary.parts import Planes
from dtc.passes.lower.decode import forget, remove_unread

OPSET = 25
IR_VERSION = 13
"""The first one with INT2."""

CAVEAT = "INT2 planes: 2 bits stored a sign, opset 25, and ONNX Runtime rounds activations to 8 bits"


def lower_int2(model: ir.Model, items: Sequence[Compressed]) -> list[str]:
    """Lower what can be to INT2 planes, in place, and the rest as `standard`; return the sites that were.

    Raises:
        ModelError: The model cannot be converted to opset 25.
    """
    require_opset(model, OPSET)
    items = found_again(model, items)
    model.ir_version = max(model.ir_version, IR_VERSION)
    chosen = [item for item in items if _fits(item.site, Planes.of(item))]
    names = [item.site.name for item in chosen]
    rest = [item for item in items if item.site.name not in names]
    shared = Shared(model)
    for item in chosen:
        _planes(item, shared)
    portable.lower(model, rest, "standard")
    return names


def _fits(site: Site, planes: Planes) -> bool:
    """Only signs, and one coefficient each; every reader a product; whole bytes of four outputs.

    ONNX Runtime 1.31.1 fuses other numbers of outputs too, and then computes something else (measured: a relative error
    above 1 for every number that is no multiple of 4, whatever the number of inputs).
    """
    plain = len(planes.codes) == planes.bits == len(planes.alphas) and site.view.rows % 4 == 0
    readers = site.readers
    return plain and all(
        reader.view == site.view and portable.reads_as_stored(reader, site) and portable.is_plain_product(reader)
        for reader in readers
    )


def _planes(item: Compressed, shared: Shared) -> None:
    site, graph, planes = item.site, item.site.value.graph, Planes.of(item)
    assert isinstance(graph, ir.Graph)
    front = shared.builder(site.name, graph)
    stored = [_store(front, planes, plane) for plane in range(planes.bits)]
    for reader in site.readers:
        builder = shared.builder(reader.node_name, graph)
        output = _product(reader, builder, stored, planes)
        replace_node(reader.node, builder, {reader.node.outputs[0]: output})
    remove_unread(site.value)
    forget(site.value)


def _store(front: GraphBuilder, planes: Planes, plane: int) -> tuple[ir.Value, ir.Value]:
    """Store signs INT2 `[in, out]` and scales `[out]` or `[groups, out]`."""
    signs = unpack_bits(planes.codes[plane], planes.cols).T.astype(np.int8) * 2 - 1
    int2 = ir.DataType.INT2
    value = front.initializer(f"plane{plane}", ir.Tensor(np.ascontiguousarray(signs).astype(int2.numpy()), dtype=int2))
    scales = planes.alphas[plane].astype(np.float32)
    scale = np.ascontiguousarray(scales.T) if planes.group_size else scales[:, 0]
    return value, front.initializer(f"plane{plane}.scale", scale)


def _product(
    reader: Reader, builder: GraphBuilder, stored: Sequence[tuple[ir.Value, ir.Value]], planes: Planes
) -> ir.Value:
    grouping: dict[str, Any] = {"axis": 0, "block_size": planes.group_size} if planes.group_size else {"axis": 1}
    x = reader.node.inputs[0]
    products = [builder.op("MatMul", [x, builder.op("DequantizeLinear", [*pair], **grouping)]) for pair in stored]
    product = products[0] if len(products) == 1 else builder.op("Sum", products)
    bias = reader.node.inputs[2] if len(reader.node.inputs) > 2 else None
    return product if bias is None else builder.op("Add", [product, bias])
