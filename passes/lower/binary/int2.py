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
from dtc.graph import Site
from dtc.graph.builder import GraphBuilder, replace_node
from dtc.graph.opset import opset_of, too_old
from dtc.passes.lower.binary.parts import Planes
from dtc.passes.lower.decode import forget, remove_unread
from dtc.passes.lower.lowered import Compressed, Lowered, ReadBy
from dtc.passes.lower.readers import Unfit, product_of
from dtc.passes.lower.rewriting import Rewriting

OPSET = 25
"""The first one with INT2."""

CAVEAT = "INT2 planes: 2 bits stored a sign, opset 25, and ONNX Runtime rounds activations to 8 bits"
REASON = "one product an INT2 plane, in 8-bit activations"
TOLERANCE = 5e-2
"""Relative L2 of the outputs: what the rounding of activations to 8 bits may make of the relative error of 0.006."""


def unfit_planes(model: ir.Model, site: Site, planes: Planes) -> str | None:
    """Return why a site cannot become INT2 planes; None if it can.

    It can where a code is only signs with one coefficient each, every reader is a product, and outputs fill whole bytes
    of four. ONNX Runtime 1.31.1 fuses other numbers of outputs too, and then computes something else (measured: a
    relative error above 1 for every number that is no multiple of 4, whatever the number of inputs).
    """
    old = too_old(opset_of(model), OPSET)
    if old is not None:
        return f"INT2 {old}"
    # More planes than bits: the last one is a mask. More alphas than bits: the last one is an offset.
    if not len(planes.codes) == planes.bits == len(planes.alphas):
        return "a mask or an offset has no INT2 plane"
    if site.view.rows % 4:
        return f"{site.view.rows} outputs do not fill bytes of four signs"
    products = (product_of(reader, site) for reader in site.readers)
    return next((product.reason for product in products if isinstance(product, Unfit)), None)


def lower_to_planes(rewriting: Rewriting, item: Compressed, planes: Planes) -> Lowered:
    """Replace every reader by one product a plane, in place."""
    site, front = item.site, rewriting.front(item.site)
    stored = [_store(front, planes, plane) for plane in range(planes.bits)]
    for reader in site.readers:
        product = product_of(reader, site)
        assert not isinstance(product, Unfit), "asked before"
        builder = rewriting.builder(site, reader)
        multiplied = _multiply(builder, product.operand(builder), stored, planes)
        replace_node(reader.node, builder, {reader.node.outputs[0]: product.finish(builder, multiplied)})
    remove_unread(site.value)
    forget(site.value)
    readers = tuple(ReadBy.of(reader, "planes", REASON) for reader in site.readers)
    return Lowered(site, item.forms, readers, caveats=(CAVEAT,), tolerance=TOLERANCE)


def _store(front: GraphBuilder, planes: Planes, plane: int) -> tuple[ir.Value, ir.Value]:
    """Store signs INT2 `[in, out]` and scales `[out]` or `[groups, out]`."""
    # [out, bytes] -> [out, in] -> [in, out] of -1 and +1.
    signs = unpack_bits(planes.codes[plane], planes.cols).T.astype(np.int8) * 2 - 1
    int2 = ir.DataType.INT2
    value = front.initializer(f"plane{plane}", ir.Tensor(np.ascontiguousarray(signs).astype(int2.numpy()), dtype=int2))
    scales = planes.alphas[plane].astype(np.float32)
    scale = np.ascontiguousarray(scales.T) if planes.group_size else scales[:, 0]
    return value, front.initializer(f"plane{plane}.scale", scale)


def _multiply(
    builder: GraphBuilder, x: ir.Value, stored: Sequence[tuple[ir.Value, ir.Value]], planes: Planes
) -> ir.Value:
    # Scales [groups, out] count for `block_size` inputs each, along axis 0; scales [out], one a column, along axis 1.
    grouping: dict[str, Any] = {"axis": 0, "block_size": planes.group_size} if planes.group_size else {"axis": 1}
    products = [builder.op("MatMul", [x, builder.op("DequantizeLinear", [*pair], **grouping)]) for pair in stored]
    return products[0] if len(products) == 1 else builder.op("Sum", products)
