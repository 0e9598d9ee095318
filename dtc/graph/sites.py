"""Sites: the weights of a model that can be compressed, and how each is read as matrices `[out, in]`."""

from __future__ import annotations

import enum
import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.forms import Array
from dtc.graph.fused import fused_matrices, fused_weights
from dtc.graph.walk import PASS_THROUGH, all_graphs, all_nodes

_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})


class Role(enum.StrEnum):
    """The use that a node makes of a weight; reports and globs over op types use the values of this enumeration."""

    MATMUL = "MatMul"
    GEMM = "Gemm"
    CONV = "Conv"
    LSTM_INPUT = "LSTM.W"
    LSTM_RECURRENT = "LSTM.R"
    GRU_INPUT = "GRU.W"
    GRU_RECURRENT = "GRU.R"
    EMBEDDING = "Gather"
    FUSED = "fused"
    """An operator that ONNX Runtime's optimizers made of several; it stays, and reads the dense weight."""
    OTHER = "other"
    """A node that needs the dense weight and is no product with it; `find_sites` returns no reader of this role."""


DENSE_ROLES = frozenset({Role.FUSED, Role.OTHER})
"""Roles of nodes that no others can stand for: what they read is decoded in front of them."""


@dataclass(frozen=True)
class MatrixView:
    """How an array is read as `count` matrices `[rows, cols]` = `[out, in]`, the reduction dimension last.

    The matrices are `array.transpose(perm).reshape(count, rows, cols)`.
    """

    perm: tuple[int, ...]
    count: int
    rows: int
    cols: int

    def matrices(self, array: npt.NDArray[np.generic]) -> Array:
        """Return `array` as float32 `[count, rows, cols]`."""
        return np.ascontiguousarray(
            array.transpose(self.perm).reshape(self.count, self.rows, self.cols), dtype=np.float32
        )

    def restore(self, matrices: Array, shape: Sequence[int]) -> Array:
        """Return matrices `[count, rows, cols]` as the array of the given shape that they came from."""
        # argsort of a permutation is its inverse: perm (2, 0, 1), argsort (1, 2, 0).
        permuted = [shape[axis] for axis in self.perm]
        return np.ascontiguousarray(matrices.reshape(permuted).transpose(np.argsort(self.perm)))


@dataclass(frozen=True, eq=False)
class Reader:
    """One node input that is fed by a site.

    `perm` is the transposition between the initializer and the node (identity where there is none), `view`
    reads the initializer's own array as the matrices `[out, in]` of this node. `rows` is how many vectors are
    multiplied with a matrix at once; None where the model leaves that open.
    """

    node: ir.Node
    index: int
    role: Role
    perm: tuple[int, ...]
    view: MatrixView
    rows: int | None = None

    @property
    def node_name(self) -> str:
        """Name of the reading node."""
        return self.node.name or f"<{self.node.op_type}>"


@dataclass(frozen=True, eq=False)
class Site:
    """A compressible weight: one initializer and every node that reads it as a weight.

    A tied weight is one site with several readers; the first one decides on the matrix view.
    """

    name: str
    value: ir.Value
    readers: tuple[Reader, ...]

    @property
    def role(self) -> Role:
        """Role of the weight at its first reader."""
        return self.readers[0].role

    @property
    def view(self) -> MatrixView:
        """The matrix view `[count, out, in]` of the initializer."""
        return self.readers[0].view

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the initializer."""
        return _static_shape(self.value)

    @property
    def rows(self) -> int | None:
        """Most vectors that a reader multiplies with a matrix at once; None where the model leaves the number open."""
        # A Gather multiplies nothing, so that a tied embedding has the rows of its other reader, the output layer.
        known = [reader.rows for reader in self.readers if reader.role is not Role.EMBEDDING]
        return max((rows for rows in known if rows is not None), default=None) if None not in known else None

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the dense initializer."""
        return self.value.const_value.nbytes if self.value.const_value is not None else 0

    def matrices(self, array: npt.NDArray[np.generic] | None = None) -> Array:
        """Return the site's matrices, float32 `[count, out, in]`, of `array` or of the model's own weight."""
        return self.view.matrices(self.array() if array is None else array)

    def array(self) -> npt.NDArray[np.generic]:
        """Return the weight as the model holds it."""
        assert self.value.const_value is not None
        return self.value.const_value.numpy()

    def restore(self, matrices: Array) -> Array:
        """Return matrices `[count, out, in]` as a float32 array of the initializer's shape."""
        return self.view.restore(matrices, self.shape)

    def assign(self, array: Array) -> None:
        """Replace the initializer's data by `array`, of the same shape, in the initializer's own dtype."""
        dtype = self.value.dtype or ir.DataType.FLOAT
        self.value.const_value = ir.tensor(array.astype(dtype.numpy()), dtype=dtype, name=self.name)

    def matches(self, patterns: Sequence[str]) -> bool:
        """True if the name, a reader's name, its op type or its role matches one of the globs."""
        words = {self.name}
        for reader in self.readers:
            words |= {reader.node_name, reader.node.op_type, str(reader.role)}
        return any(fnmatch.fnmatchcase(word, pattern) for word in words for pattern in patterns)


def find_sites(model: ir.Model) -> list[Site]:
    """Return the sites of the main graph and of all subgraphs, in the order in which they are first read."""
    # By identity: initializers of different graphs may have the same name. `readers` keeps the order of first reading.
    owned = {id(v) for g in all_graphs(model) for v in g.initializers.values()}
    readers: dict[int, list[Reader]] = {}
    values: dict[int, ir.Value] = {}
    for node in all_nodes(model):
        for index, role in _weight_inputs(node):
            found = _reader(node, index, role, owned)
            if found is not None:
                value, reader = found
                values[id(value)] = value
                readers.setdefault(id(value), []).append(reader)
    return [Site(values[key].name or "", values[key], tuple(found)) for key, found in readers.items()]


def site_of(value: ir.Value) -> Site | None:
    """Return the site of one initializer, with every node that reads `value` as a weight; None if no node does."""
    readers: list[Reader] = []
    waiting = [value]
    for handed in waiting:  # grows as the value is handed on
        for node, index in handed.uses():
            roles = dict(_weight_inputs(node))
            # 1. A node that reads the weight: traced back for the transpositions between, as in `find_sites`.
            if index in roles:
                found = _reader(node, index, roles[index], {id(value)})
                readers += [] if found is None else [found[1]]
            # 2. A node that hands the weight on. Any other reader, such as an Add, ends the search on its branch.
            elif index == 0 and node.domain == "" and (node.op_type in PASS_THROUGH | {"Transpose", "Cast"}):
                waiting.append(node.outputs[0])
    return Site(value.name or "", value, tuple(readers)) if readers else None


def _reader(node: ir.Node, index: int, role: Role, owned: set[int]) -> tuple[ir.Value, Reader] | None:
    """Return the initializer that reaches input `index` of a node, and this input as its reader; None without one."""
    found = _trace(node.inputs[index], owned)
    if found is None:
        return None
    value, perm = found
    view = _view(node, role, index, _static_shape(value), perm)
    return None if view is None else (value, Reader(node, index, role, perm, view, _rows(node, role, index)))


def _weight_inputs(node: ir.Node) -> list[tuple[int, Role]]:
    if node.domain == "dtc":
        return _recurrent_weights(node)
    if node.domain != "":
        return [(index, Role.FUSED) for index in fused_weights(node) if index < len(node.inputs)]
    match node.op_type:
        case "MatMul":
            # A weight may stand on either side; the other operand is an activation, which `_trace` finds no data for.
            return [(1, Role.MATMUL), (0, Role.MATMUL)]
        case "Gemm":
            return [(1, Role.GEMM)]
        case "Conv":
            return [(1, Role.CONV)]
        case "LSTM":
            return [(1, Role.LSTM_INPUT), (2, Role.LSTM_RECURRENT)]
        case "GRU":
            return [(1, Role.GRU_INPUT), (2, Role.GRU_RECURRENT)]
        case "Gather":
            return [(0, Role.EMBEDDING)]
        case _:
            return []


def _recurrent_weights(node: ir.Node) -> list[tuple[int, Role]]:
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


_RECURRENT = {
    "LSTM": (6, (Role.LSTM_INPUT, Role.LSTM_RECURRENT)),
    "GRU": (4, (Role.GRU_INPUT, Role.GRU_RECURRENT)),
}
"""Inputs of the operators in front of their weights, and the roles of W and R."""


def _trace(value: ir.Value | None, owned: set[int]) -> tuple[ir.Value, tuple[int, ...]] | None:
    """Follow a weight input upstream to its float initializer, through Identity, Dropout, Transpose, Cast."""
    perms: list[tuple[int, ...] | None] = []
    while value is not None and id(value) not in owned:
        node = value.producer()
        if node is None or node.domain != "" or value is not node.outputs[0]:
            return None
        if node.op_type == "Transpose":
            attribute = node.attributes.get("perm")
            perms.append(None if attribute is None else tuple(attribute.as_ints()))
        elif node.op_type not in PASS_THROUGH and node.op_type != "Cast":
            return None
        value = node.inputs[0]
    if value is None or value.dtype not in _FLOATS or value.const_value is None:
        return None
    # Example: W [3, 5, 7] -> Transpose (2, 0, 1) -> Transpose (1, 0, 2) -> MatMul. The first makes [7, 3, 5], the
    # second [3, 7, 5]; together (0, 2, 1): axis i of the result is axis perm[i] of the initializer.
    rank = len(_static_shape(value))
    total = tuple(range(rank))
    for perm in reversed(perms):  # the one nearest the initializer acts first
        axes = tuple(reversed(range(rank))) if perm is None else perm
        if len(axes) != rank:
            return None
        total = tuple(total[axis] for axis in axes)
    return value, total


def _rows(node: ir.Node, role: Role, index: int) -> int | None:
    """Return how many vectors a node multiplies with its weight at once; None where a size is free or unknown."""
    match role:
        case Role.MATMUL:
            # x [..., n, in] @ W [in, out]: all sizes of x but the last. W [out, in] @ x [in, n]: the n columns of x.
            sizes = _sizes(node.inputs[1 - index])
            return _product(None if sizes is None else sizes[:-1] if index == 1 else sizes[-1:])
        case Role.GEMM:
            # A [n, in], or with transA [in, n].
            sizes = _sizes(node.inputs[0])
            return _product(None if sizes is None else sizes[1:] if node.attributes.get_int("transA", 0) else sizes[:1])
        case Role.LSTM_INPUT | Role.GRU_INPUT:
            # X [steps, batch, input]: W multiplies all steps at once, in front of the recurrence.
            sizes = _sizes(node.inputs[0])
            return _product(None if sizes is None else sizes[:2])
        case Role.LSTM_RECURRENT | Role.GRU_RECURRENT:
            # R multiplies the state [batch, hidden], one step at a time.
            sizes = _sizes(node.inputs[0])
            return _product(None if sizes is None else sizes[1:2])
        case _:
            return None


def _sizes(value: ir.Value | None) -> list[int | None] | None:
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else None for size in value.shape]


def _product(sizes: Sequence[int | None] | None) -> int | None:
    known = [size for size in sizes or () if size is not None]
    return math.prod(known) if sizes is not None and len(known) == len(sizes) else None


def _view(node: ir.Node, role: Role, index: int, shape: tuple[int, ...], perm: tuple[int, ...]) -> MatrixView | None:
    """Return the matrix view of an initializer of `shape`, whose array reaches the node transposed by `perm`."""
    # `seen` is the shape that the node sees; `axes` brings it to [..., out, in]; the view then composes both
    # permutations. B [in, out] of a MatMul behind a Transpose (1, 0) is stored as [out, in]: perm (1, 0), axes (1, 0),
    # and the view is (0, 1), the array as it is.
    seen = tuple(shape[axis] for axis in perm)
    rank = len(seen)
    axes: tuple[int, ...]
    match role:
        # 1. One matrix: x @ [in, out] or [out, in] @ x.
        case Role.MATMUL if rank == 2:
            axes = (1, 0) if index == 1 else (0, 1)
            count, rows, cols = 1, seen[axes[0]], seen[axes[1]]
        # 2. A batch of matrices [count..., in, out], or [count..., out, in] on the left.
        case Role.MATMUL if rank > 2:
            lead = tuple(range(rank - 2))
            axes = (*lead, rank - 1, rank - 2) if index == 1 else (*lead, rank - 2, rank - 1)
            count, rows, cols = math.prod(seen[:-2]), seen[axes[-2]], seen[axes[-1]]
        # 3. B [in, out], or with transB [out, in].
        case Role.GEMM if rank == 2:
            trans_b = node.attributes.get_int("transB", 0)
            axes = (0, 1) if trans_b else (1, 0)
            count, rows, cols = 1, seen[axes[0]], seen[axes[1]]
        # 4. Filters [out, in / group, kernel...]: a matrix for each group, and a row for each filter, laid flat.
        # [64, 16, 3, 3] in 2 groups -> 2 matrices [32, 144].
        case Role.CONV if rank >= 3:
            axes = tuple(range(rank))
            count = node.attributes.get_int("group", 1) or 1
            if seen[0] % count:
                return None
            rows, cols = seen[0] // count, math.prod(seen[1:])
        # 5. [directions, gates * hidden, in]: a matrix for each direction, as it is.
        case Role.LSTM_INPUT | Role.LSTM_RECURRENT | Role.GRU_INPUT | Role.GRU_RECURRENT if rank == 3:
            axes = (0, 1, 2)
            count, rows, cols = seen
        # 6. A table [words, width]: a row is what one index reads. Along another axis it would be a column.
        case Role.EMBEDDING if rank == 2 and node.attributes.get_int("axis", 0) == 0:
            axes = (0, 1)
            count, rows, cols = 1, seen[0], seen[1]
        # 7. As the schema of the operator says.
        case Role.FUSED if (read := fused_matrices(node, index, seen)) is not None:
            axes, count, rows, cols = read.axes, read.count, read.rows, read.cols
        case _:
            return None
    # A single number is a scale, not a matrix.
    if 0 in (count, rows, cols) or count * rows * cols == 1:
        return None
    return MatrixView(tuple(perm[axis] for axis in axes), count, rows, cols)


def _static_shape(value: ir.Value) -> tuple[int, ...]:
    tensor = value.const_value
    return tuple(int(str(d)) for d in tensor.shape) if tensor is not None else ()
