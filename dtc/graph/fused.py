"""The operators that ONNX Runtime's optimizers write (domain `com.microsoft`), and which of their inputs are weights.

They are what a file holds that was saved with `SessionOptions.optimized_model_filepath` or went through
`onnxruntime.transformers.optimizer`. Sources: the schemas of ONNX Runtime (ContribOperators.md).
"""

from __future__ import annotations

import enum
import math

import onnx_ir as ir

from dtc.graph.views import MatrixView, NoView, as_matrices, laid_flat

DOMAIN = "com.microsoft"


class Layout(enum.Enum):
    """How the axes of a weight, as a node sees it, are those of matrices `[out, in]`."""

    IN_OUT = "in, out"
    """`[count..., in, out]`"""
    OUT_IN = "out, in"
    """`[count..., out, in]`; of a table, `[words, width]`"""
    FILTERS = "filters"
    """`[out, ...]`: a row for each filter, laid flat, in as many matrices as there are groups."""


_PRODUCT = {0: Layout.OUT_IN, 1: Layout.IN_OUT}
_TRANSPOSED_BY = {0: "transA", 1: "transB"}

_WEIGHTS: dict[str, dict[int, Layout]] = {
    # Products; the weight may stand on either side.
    "FusedMatMul": _PRODUCT,
    "FusedMatMulActivation": _PRODUCT,
    "FusedGemm": _PRODUCT,
    "TransposeMatMul": _PRODUCT,
    "GemmFastGelu": {1: Layout.IN_OUT},
    # Convolutions.
    "FusedConv": {1: Layout.FILTERS},
    "NhwcConv": {1: Layout.FILTERS},
    "NhwcFusedConv": {1: Layout.FILTERS},
    "ConvTransposeWithDynamicPads": {1: Layout.FILTERS},
    "WordConvEmbedding": {1: Layout.FILTERS, 3: Layout.OUT_IN},
    # Attention: [hidden, 3 * hidden], the projections of query, key and value side by side.
    "Attention": {1: Layout.IN_OUT},
    "PackedAttention": {1: Layout.IN_OUT},
    "DecoderMaskedSelfAttention": {1: Layout.IN_OUT},
    "DecoderAttention": {2: Layout.IN_OUT, 3: Layout.IN_OUT},
    "LongformerAttention": {1: Layout.IN_OUT, 4: Layout.IN_OUT},
    "GatedRelativePositionBias": {3: Layout.IN_OUT},
    # Tables of words, positions and segments.
    "EmbedLayerNormalization": {2: Layout.OUT_IN, 3: Layout.OUT_IN, 4: Layout.OUT_IN},
    "TorchEmbedding": {0: Layout.OUT_IN},
    "RelativePositionBias": {0: Layout.OUT_IN},
    # Experts, a matrix each; a recurrent layer with attention.
    "MoE": {2: Layout.OUT_IN, 4: Layout.OUT_IN, 6: Layout.OUT_IN},
    "AttnLSTM": {1: Layout.OUT_IN, 2: Layout.OUT_IN},
}
"""The inputs that are weights, by operator. All others have none, such as MultiHeadAttention and BiasGelu."""


def fused_weights(node: ir.Node) -> tuple[int, ...]:
    """Return the inputs of a node that are weights, if it is a fused operator; else none."""
    return tuple(_WEIGHTS.get(node.op_type, ())) if node.domain == DOMAIN else ()


def fused_matrices(node: ir.Node, index: int, shape: tuple[int, ...]) -> MatrixView | NoView:
    """Return how weight `index` of a fused node, of a shape as the node sees it, is read, or why it is no matrix."""
    layout, rank = _WEIGHTS[node.op_type][index], len(shape)
    if rank < 2:
        return NoView("a vector is no matrix")
    if layout is Layout.FILTERS:
        # As of a Conv: [64, 16, 3, 3] in 2 groups -> 2 matrices [32, 144].
        groups = node.attributes.get_int("group", 1) or 1
        count = groups if shape[0] % groups == 0 else 1
        return as_matrices(count, shape[0] // count, math.prod(shape[1:]), range(rank))
    turned = bool(node.attributes.get_int(_TRANSPOSED_BY.get(index, ""), 0))
    out, into = (rank - 1, rank - 2) if (layout is Layout.IN_OUT) != turned else (rank - 2, rank - 1)
    return laid_flat(shape, range(rank - 2), [out], [into])
