"""The operators that read weights: which inputs these are, and how each is read as matrices `[out, in]`.

An operator is a row of `_WEIGHTS`, a role a row of `_VIEWS`, and of `_ROWS` where something is multiplied with it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from dtc.graph.einsum import contraction
from dtc.graph.fused import DOMAIN as FUSED_DOMAIN
from dtc.graph.fused import fused_matrices, fused_weights
from dtc.graph.views import MatrixView, NoView, as_matrices, laid_flat


class Role(enum.StrEnum):
    """The use that a node makes of a weight; reports and globs over op types use the values of this enumeration."""

    MATMUL = "MatMul"
    GEMM = "Gemm"
    EINSUM = "Einsum"
    CONV = "Conv"
    CONV_TRANSPOSE = "ConvTranspose"
    DEFORM_CONV = "DeformConv"
    LSTM_INPUT = "LSTM.W"
    LSTM_RECURRENT = "LSTM.R"
    GRU_INPUT = "GRU.W"
    GRU_RECURRENT = "GRU.R"
    RNN_INPUT = "RNN.W"
    RNN_RECURRENT = "RNN.R"
    EMBEDDING = "Gather"
    FUSED = "fused"
    """An operator that ONNX Runtime's optimizers made of several; it stays, and reads the dense weight."""
    SPLIT = "Split"
    """A Split whose parts are weights: the matrices are those of the first node that reads a part."""
    OTHER = "other"
    """A node that needs the dense weight and is no product with it; `find_sites` returns no reader of this role."""


CONVOLUTIONS = frozenset({Role.CONV, Role.CONV_TRANSPOSE, Role.DEFORM_CONV})
INPUT_ROLES = frozenset({Role.LSTM_INPUT, Role.GRU_INPUT, Role.RNN_INPUT})
RECURRENT_ROLES = frozenset({Role.LSTM_RECURRENT, Role.GRU_RECURRENT, Role.RNN_RECURRENT})

DENSE_ROLES = frozenset({Role.FUSED, Role.SPLIT, Role.OTHER})
"""Roles of nodes that no others can stand for: what they read is decoded in front of them."""

_WEIGHTS: Mapping[tuple[str, str], Sequence[tuple[int, Role]]] = {
    # A weight may stand on either side; the other operand is an activation.
    ("", "MatMul"): ((1, Role.MATMUL), (0, Role.MATMUL)),
    ("", "Gemm"): ((1, Role.GEMM), (0, Role.GEMM)),
    ("", "Conv"): ((1, Role.CONV),),
    ("", "ConvTranspose"): ((1, Role.CONV_TRANSPOSE),),
    ("", "DeformConv"): ((1, Role.DEFORM_CONV),),
    ("", "LSTM"): ((1, Role.LSTM_INPUT), (2, Role.LSTM_RECURRENT)),
    ("", "GRU"): ((1, Role.GRU_INPUT), (2, Role.GRU_RECURRENT)),
    ("", "RNN"): ((1, Role.RNN_INPUT), (2, Role.RNN_RECURRENT)),
    ("", "Gather"): ((0, Role.EMBEDDING),),
}
"""The inputs of an operator, by its domain and name, that are weights."""


def weight_inputs(node: ir.Node) -> Sequence[tuple[int, Role]]:
    """Return the inputs of a node that are weights where they are constant, and their roles."""
    if node.domain == "dtc":
        return _coded_recurrence(node)
    if (node.domain, node.op_type) == ("", "Einsum"):
        return [(index, Role.EINSUM) for index in range(len(node.inputs))]
    if node.domain == FUSED_DOMAIN:
        return [(index, Role.FUSED) for index in fused_weights(node) if index < len(node.inputs)]
    known = _WEIGHTS.get((node.domain, node.op_type), ())
    return [(index, role) for index, role in known if index < len(node.inputs)]


def view_of(node: ir.Node, role: Role, index: int, seen: Sequence[int]) -> MatrixView | NoView:
    """Return how a node reads its weight, of the shape `seen` that it has there, or why it is no matrix for it."""
    return _VIEWS[role](node, index, tuple(seen))


def rows_of(node: ir.Node, role: Role, index: int, rank: int) -> int | None:
    """Return how many vectors a node multiplies with its weight at once; None where a size is free or unknown."""
    return _ROWS[role](node, index, rank) if role in _ROWS else None


_RECURRENT = {
    "LSTM": (6, (Role.LSTM_INPUT, Role.LSTM_RECURRENT)),
    "GRU": (4, (Role.GRU_INPUT, Role.GRU_RECURRENT)),
}
"""Inputs of the operators of the domain `dtc` in front of their weights, and the roles of W and R."""


def _coded_recurrence(node: ir.Node) -> list[tuple[int, Role]]:
    """Return the input and role of the dense weight of an operator such as `LSTM_binary_dense`.

    The arrays of W stand behind all other inputs, those of R behind them; a dense weight is one array.
    """
    # LSTM_binary_dense: R is dense, one array, the last input. LSTM_dense_binary: W is dense, the first behind the
    # others. A form's name may have an underscore (low_rank), hence prefix and suffix instead of a split.
    cell, _, forms = node.op_type.partition("_")
    if cell not in _RECURRENT:
        return []
    first, roles = _RECURRENT[cell]
    if forms.startswith("dense_"):
        return [(first, roles[0])]
    return [(len(node.inputs) - 1, roles[1])] if forms.endswith("_dense") else []


# How weights are read.


def _matmul(_: ir.Node, index: int, seen: tuple[int, ...]) -> MatrixView | NoView:
    """X @ [count..., in, out], or [count..., out, in] @ x."""
    rank = len(seen)
    if rank < 2:
        return NoView("a vector is no matrix")
    out, into = (rank - 1, rank - 2) if index == 1 else (rank - 2, rank - 1)
    return laid_flat(seen, range(rank - 2), [out], [into])


def _gemm(node: ir.Node, index: int, seen: tuple[int, ...]) -> MatrixView | NoView:
    """B [in, out], or with transB [out, in]; as A it is [out, in], or with transA [in, out]."""
    if len(seen) != 2:
        return NoView("a Gemm reads matrices")
    as_stored = bool(node.attributes.get_int("transB", 0)) if index == 1 else not node.attributes.get_int("transA", 0)
    return laid_flat(seen, [], [0], [1]) if as_stored else laid_flat(seen, [], [1], [0])


def _conv(node: ir.Node, _: int, seen: tuple[int, ...]) -> MatrixView | NoView:
    """Filters [out, in / group, kernel...]: a matrix for each group, and a row for each filter, laid flat."""
    # [64, 16, 3, 3] in 2 groups -> 2 matrices [32, 144].
    count = _groups(node)
    if len(seen) < 3 or seen[0] % count:
        return NoView("it has no filters for each group")
    return as_matrices(count, seen[0] // count, math.prod(seen[1:]), range(len(seen)))


def _conv_transpose(node: ir.Node, _: int, seen: tuple[int, ...]) -> MatrixView | NoView:
    """Filters [in, out / group, kernel...]: as of a Conv, a row for each channel of the output."""
    count, rank = _groups(node), len(seen)
    if rank < 3 or count < 1 or seen[0] % count:
        return NoView("it has no filters for each group")
    if count == 1:
        return laid_flat(seen, [], [1], [0, *range(2, rank)])
    # [8, 3, 5, 5] in 2 groups, split as [2, 4, 3, 5, 5] -> 2 matrices [3, 100].
    parts = ((count, seen[0] // count), *((size,) for size in seen[1:]))
    rows, cols = seen[1], seen[0] // count * math.prod(seen[2:])
    if 0 in seen:
        return NoView("it holds no numbers")
    return MatrixView((0, 2, 1, *range(3, rank + 1)), count, rows, cols, parts)


def _recurrent(_: ir.Node, __: int, seen: tuple[int, ...]) -> MatrixView | NoView:
    """[directions, gates * hidden, in]: a matrix for each direction, as it is."""
    return laid_flat(seen, [0], [1], [2]) if len(seen) == 3 else NoView("it has no directions")


def _table(node: ir.Node, _: int, seen: tuple[int, ...]) -> MatrixView | NoView:
    """Entries along `axis`: a row is what one index reads, laid flat."""
    rank, axis = len(seen), node.attributes.get_int("axis", 0) or 0
    if rank < 2 or not -rank <= axis < rank:
        return NoView("a vector is no matrix")
    axis %= rank
    return laid_flat(seen, [], [axis], [other for other in range(rank) if other != axis])


def _einsum(node: ir.Node, index: int, seen: tuple[int, ...]) -> MatrixView | NoView:
    """Letters of the weight, by who else has them: matrices, rows, columns."""
    found = contraction(node, index, len(seen))
    if isinstance(found, NoView):
        return found
    if len(seen) < 2:
        return NoView("a vector is no matrix")
    batch, out, into = ([found.weight.index(x) for x in each] for each in (found.batch, found.out, found.into))
    return laid_flat(seen, batch, out, into)


def _groups(node: ir.Node) -> int:
    return node.attributes.get_int("group", 1) or 1


_VIEWS: Mapping[Role, Callable[[ir.Node, int, tuple[int, ...]], MatrixView | NoView]] = {
    Role.MATMUL: _matmul,
    Role.GEMM: _gemm,
    Role.EINSUM: _einsum,
    Role.CONV: _conv,
    Role.CONV_TRANSPOSE: _conv_transpose,
    Role.DEFORM_CONV: _conv,
    **dict.fromkeys(INPUT_ROLES | RECURRENT_ROLES, _recurrent),
    Role.EMBEDDING: _table,
    Role.FUSED: fused_matrices,
}


# How many vectors are multiplied with them at once.


def _rows_of_matmul(node: ir.Node, index: int, _: int) -> int | None:
    # x [..., n, in] @ W [in, out]: all sizes of x but the last. W [out, in] @ x [in, n]: the n columns of x.
    sizes = _sizes_of_other(node, index)
    return _product(None if sizes is None else sizes[:-1] if index == 1 else sizes[-1:])


def _rows_of_gemm(node: ir.Node, index: int, _: int) -> int | None:
    # A [n, in], or with transA [in, n]; of W B the n columns of B, or with transB [n, in] its rows.
    sizes = _sizes_of_other(node, index)
    last = not node.attributes.get_int("transB", 0) if index == 0 else bool(node.attributes.get_int("transA", 0))
    return _product(None if sizes is None else sizes[1:] if last else sizes[:1])


def _rows_of_sequence(node: ir.Node, _: int, __: int) -> int | None:
    # X [steps, batch, input]: W multiplies all steps at once, in front of the recurrence.
    sizes = _sizes(node.inputs[0])
    return _product(None if sizes is None else sizes[:2])


def _rows_of_state(node: ir.Node, _: int, __: int) -> int | None:
    # R multiplies the state [batch, hidden], one step at a time.
    sizes = _sizes(node.inputs[0])
    return _product(None if sizes is None else sizes[1:2])


def _rows_of_einsum(node: ir.Node, index: int, rank: int) -> int | None:
    # bhi,hio->bho: each matrix h is multiplied with b vectors.
    found = contraction(node, index, rank)
    sizes = _sizes_of_other(node, index) if len(node.inputs) == 2 else None
    if isinstance(found, NoView) or sizes is None or len(sizes) != len(found.others[0]):
        return None
    letters = zip(found.others[0], sizes, strict=True)
    return _product([size for letter, size in letters if letter not in found.weight])


_ROWS: Mapping[Role, Callable[[ir.Node, int, int], int | None]] = {
    Role.MATMUL: _rows_of_matmul,
    Role.GEMM: _rows_of_gemm,
    Role.EINSUM: _rows_of_einsum,
    **dict.fromkeys(INPUT_ROLES, _rows_of_sequence),
    **dict.fromkeys(RECURRENT_ROLES, _rows_of_state),
}


def _sizes_of_other(node: ir.Node, index: int) -> list[int | None] | None:
    return _sizes(node.inputs[1 - index]) if len(node.inputs) > 1 else None


def _sizes(value: ir.Value | None) -> list[int | None] | None:
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else None for size in value.shape]


def _product(sizes: Sequence[int | None] | None) -> int | None:
    known = [size for size in sizes or () if size is not None]
    return math.prod(known) if sizes is not None and len(known) == len(sizes) else None
