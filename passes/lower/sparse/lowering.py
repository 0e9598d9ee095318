"""Lowering of the sparse form.

`compute`: MatMul and Gemm become `dtc.SparseMatMul` or `dtc.BitmapMatMul` where that pays (`dtc.passes.lower.costs`),
embeddings `dtc.SparseGather` or `dtc.BitmapGather`, recurrent nodes `dtc.LSTM_*` and `dtc.GRU_*`; other readers get the
dense weight as in `standard`.
`standard`: standard operators decode the weight when the session loads; an embedding's rows are decoded behind
its Gather, unless another node needs the whole table. Where whole rows or columns are zero and that is
faster, a smaller MatMul is left in both. `storage`: `dtc.SparseDequantize` or `dtc.BitmapDequantize` in front of every
reader; with the native library the weight stays sparse in memory and is decoded at every run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops import call
from dtc.forms.sparse import Sparse
from dtc.forms.sparse_pattern import Bitmap, Lines
from dtc.graph import Reader, Role, Site
from dtc.graph.builder import GraphBuilder, Shared, replace_node
from dtc.passes.lower import Compressed, Mode, costs
from dtc.passes.lower.recurrent.operator import (
    RECURRENT_ROLES,
    CodedWeight,
    can_be_operator,
    replace_weight,
    up_to_date,
)
from dtc.passes.lower.sparse.lines import lookup_lines, multiply_lines, pays_to_multiply
from dtc.passes.lower.sparse.stored import StoredSparse, decode_in_nodes, feed_dense

KIND = Sparse.kind

OPSET = 13


def refuse(site: Site) -> str | None:
    """Return why `site` cannot be lowered to the sparse form, naming the node; None if it can."""
    if site.value.is_graph_output():
        return f"weight {site.name!r} is an output of the graph"
    return None


def lower(model: ir.Model, items: Sequence[Compressed], mode: Mode = "compute") -> None:
    """Replace the sites by their sparse form, in place; the model is of opset 13 or later."""
    shared = Shared(model)
    for item in up_to_date(model, items):
        stored = StoredSparse(item, shared, in_nodes=mode == "standard")
        if mode != "storage":
            _lower_readers(model, shared, stored, mode)
        feed_dense(stored, decode_in_nodes if mode != "storage" else _decode_by_operator)
    shared.insert()


def _lower_readers(model: ir.Model, shared: Shared, stored: StoredSparse, mode: Mode) -> None:
    """Replace the readers that compute on the stored weight."""
    whole = mode == "compute" or _looked_up_only(stored.site)
    for reader in stored.site.readers:
        if mode == "compute" and _fits_operator(model, stored, reader):
            if reader.role in RECURRENT_ROLES:
                # Multiplied by a row or a few at every step, at which compressed rows are 1.5 times as fast as a bitmap
                # (650x2600, 90 % zeros, LSTM of 35 steps: 1.9 and 2.8 ms); they are up to 14 % larger.
                stored.to_csr()
            form = "bitmap" if isinstance(stored.form.pattern, Bitmap) else "sparse"
            replace_weight(model, reader, CodedWeight(form, [stored.values(), *stored.places()]))
            continue
        if not _is_plain(stored, reader):
            continue
        builder = shared.builder(reader.node_name, stored.front.graph)
        output = _compute(builder, stored, reader, mode) if whole or _is_lines(stored) else None
        if output is not None:
            replace_node(reader.node, builder, {reader.node.outputs[0]: output})


def _fits_operator(model: ir.Model, stored: StoredSparse, reader: Reader) -> bool:
    """True for a recurrent node that an operator can stand for, on this very matrix."""
    pays = not _is_lines(stored) and costs.choose(stored.form, stored.site.rows).on_codes
    return pays and reader.view == stored.site.view and can_be_operator(model, reader)


def _compute(builder: GraphBuilder, stored: StoredSparse, reader: Reader, mode: Mode) -> ir.Value | None:
    """Return the node's output computed on the stored weight; None where it needs the dense one."""
    node, pattern = reader.node, stored.form.pattern
    if reader.role == Role.EMBEDDING:
        ids = node.inputs[1]
        assert ids is not None
        if isinstance(pattern, Lines):
            return lookup_lines(builder, stored, pattern, ids)
        if mode == "standard":
            return stored.packed(builder).rows(builder, ids)
        return _operator(builder, stored, "Gather", [ids, stored.values(), *stored.places()])
    x = node.inputs[0]
    assert x is not None
    if isinstance(pattern, Lines):
        pays = pays_to_multiply(pattern)
    else:
        pays = mode == "compute" and costs.choose(stored.form, stored.site.rows).on_codes
    if not pays:
        return None
    if node.attributes.get_int("transA", 0):
        x = builder.op("Transpose", [x], perm=[1, 0])
    if isinstance(pattern, Lines):
        product = multiply_lines(builder, stored, pattern, x)
    else:
        product = _operator(builder, stored, "MatMul", [x, stored.values(), *stored.places()])
    return product if reader.role == Role.MATMUL else _scaled_and_biased(builder, node, product)


def _scaled_and_biased(builder: GraphBuilder, node: ir.Node, product: ir.Value) -> ir.Value:
    """What a Gemm does behind its product."""
    alpha, beta = (node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    if alpha != 1.0:
        product = builder.op("Mul", [product, builder.constant(np.array(alpha, dtype=np.float32))])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None or beta == 0.0:
        return product
    if beta != 1.0:
        bias = builder.op("Mul", [bias, builder.constant(np.array(beta, dtype=np.float32))])
    return builder.op("Add", [product, bias])


def _operator(builder: GraphBuilder, stored: StoredSparse, what: str, inputs: Sequence[ir.Value | None]) -> ir.Value:
    """Add `dtc.Sparse<what>` or `dtc.Bitmap<what>`, by the form's pattern, and its function to the model."""
    name = ("Bitmap" if isinstance(stored.form.pattern, Bitmap) else "Sparse") + what
    return call(builder, name, inputs, cols=stored.form.shape[1])


def _decode_by_operator(builder: GraphBuilder, stored: StoredSparse, transposed: bool) -> ir.Value:  # noqa: FBT001 - Decode
    if _is_lines(stored):
        return decode_in_nodes(builder, stored, transposed)
    weight = _operator(builder, stored, "Dequantize", [stored.values(), *stored.places()])
    if stored.dtype != ir.DataType.FLOAT:
        weight = builder.op("Cast", [weight], to=stored.dtype)
    return builder.op("Transpose", [weight], perm=[1, 0]) if transposed else weight


def _is_lines(stored: StoredSparse) -> bool:
    return isinstance(stored.form.pattern, Lines)


def _looked_up_only(site: Site) -> bool:
    """True if nothing but embeddings read the weight, so that no dense table is needed."""
    return len(site.value.uses()) == len(site.readers) and all(r.role == Role.EMBEDDING for r in site.readers)


def _is_plain(stored: StoredSparse, reader: Reader) -> bool:
    """True for a product with, or a look-up in, this very matrix `[out, in]`, in float32."""
    weight_is_second = reader.role == Role.MATMUL and reader.index == 1 and len(reader.view.perm) == 2
    fits = weight_is_second or reader.role in (Role.GEMM, Role.EMBEDDING)
    return fits and reader.view == stored.site.view and stored.dtype == ir.DataType.FLOAT and not _is_cast(reader)


def _is_cast(reader: Reader) -> bool:
    value = reader.node.inputs[reader.index]
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "Cast":
            return True
        value = node.inputs[0]
    return False
