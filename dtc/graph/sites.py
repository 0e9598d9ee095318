"""Sites: the weights of a model that can be compressed, and how each is read as matrices `[out, in]`."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.device_arrays import DeviceArray
from dtc.forms import Array
from dtc.graph.decoding import decoding_nodes
from dtc.graph.roles import Role, rows_of, view_of, weight_inputs
from dtc.graph.sparse import tensor_bytes
from dtc.graph.views import MatrixView, NoView
from dtc.graph.walk import PASS_THROUGH, all_graphs, all_nodes

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})

_HANDS_ON = PASS_THROUGH | {"Transpose", "Cast"}
"""Nodes between a weight and the node that reads it; a Split is one that does read it, whatever its parts are."""


@dataclass(frozen=True, eq=False)
class Reader:
    """One node input that is fed by a site.

    `perm` is the transposition between the initializer and the node (identity where there is none), `view`
    reads the initializer's own array as the matrices `[out, in]` of this node. `rows` is how many vectors are
    multiplied with a matrix at once; None where the model leaves that open. `shape` is that of the weight as the
    node sees it.
    """

    node: ir.Node
    index: int
    role: Role
    perm: tuple[int, ...]
    view: MatrixView
    shape: tuple[int, ...]
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
    nbytes: int = field(init=False)
    """Bytes of the initializer as the model stored it when the site was found."""

    def __post_init__(self) -> None:
        tensor = self.value.const_value
        object.__setattr__(self, "nbytes", 0 if tensor is None else tensor_bytes(tensor))

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

    def matrices(self, array: DeviceArray | None = None) -> DeviceArray:
        """Return the site's matrices, float32 `[count, out, in]`, of `array`, where it lies, or of its own weight."""
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
    decoding = decoding_nodes(model)
    for node in all_nodes(model):
        if node in decoding:  # it reads tables and coefficients of a weight that is compressed already
            continue
        for index, role in weight_inputs(node):
            found = _reader(node, index, role, owned)
            if isinstance(found, tuple):
                value, reader = found
                values[id(value)] = value
                _add(readers.setdefault(id(value), []), reader)
    return [Site(values[key].name or "", values[key], tuple(found)) for key, found in readers.items()]


def site_of(value: ir.Value) -> Site | None:
    """Return the site of one initializer, with every node that reads `value` as a weight; None if no node does."""
    readers: list[Reader] = []
    for node, index in _uses(value):
        found = _reader(node, index, dict(weight_inputs(node)).get(index), {id(value)})
        if isinstance(found, tuple):
            _add(readers, found[1])
    return Site(value.name or "", value, tuple(readers)) if readers else None


def why_no_site(value: ir.Value) -> str:
    """Return why an initializer that is no site is none: what reads it, and why that is no product with matrices."""
    told: dict[str, None] = {}
    for node, index in _uses(value):
        found = _reader(node, index, dict(weight_inputs(node)).get(index), {id(value)})
        operator = node.op_type if node.domain == "" else f"{node.domain}.{node.op_type}"
        told[f"{operator} ({found.reason if isinstance(found, NoView) else 'no product with a matrix'})"] = None
    return f"read by {', '.join(told) or 'nothing'}"


def _uses(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """Yield the nodes that read a weight, and at which input, behind those that only hand it or its parts on."""
    waiting = [value]
    for handed in waiting:  # grows as the value is handed on
        for node, index in handed.uses():
            if index == 0 and node.domain == "" and (node.op_type in _HANDS_ON or node.op_type == "Split"):
                waiting += node.outputs if node.op_type == "Split" else node.outputs[:1]
            else:
                yield node, index


def _add(readers: list[Reader], reader: Reader) -> None:
    """Add a reader; a Split counts once, however many nodes read its parts."""
    if all(known.node is not reader.node or known.index != reader.index for known in readers):
        readers.append(reader)


def _reader(node: ir.Node, index: int, role: Role | None, owned: set[int]) -> tuple[ir.Value, Reader] | NoView | None:
    """Return the initializer that reaches input `index` of a node, and this input as its reader.

    None where the input is no weight or no initializer reaches it; why not, where it is no matrix for the node.
    """
    found = None if role is None or index >= len(node.inputs) else _trace(node.inputs[index], owned)
    if found is None or role is None:
        return None
    shape = _static_shape(found.value)
    seen = tuple(shape[axis] for axis in found.perm)
    there = view_of(node, role, index, seen)
    if isinstance(there, NoView):
        return there
    view, rows = there.behind(found.perm), rows_of(node, role, index, len(seen))
    if found.split is not None:
        ahead = tuple(shape[axis] for axis in found.ahead)
        return found.value, Reader(found.split, 0, Role.SPLIT, found.ahead, view, ahead, rows)
    return found.value, Reader(node, index, role, found.perm, view, seen, rows)


@dataclass(frozen=True, eq=False)
class _Traced:
    """A weight input followed upstream: its initializer, and the transposition between.

    `split` is the Split nearest to the initializer, if one stands between, `ahead` the transposition in front of it.
    """

    value: ir.Value
    perm: tuple[int, ...]
    split: ir.Node | None
    ahead: tuple[int, ...]


def _trace(value: ir.Value | None, owned: set[int]) -> _Traced | None:
    """Follow a weight input upstream to its float initializer, through Identity, Dropout, Transpose, Cast, Split."""
    perms: list[tuple[int, ...] | None] = []
    split, below = None, 0
    while value is not None and id(value) not in owned:
        node = value.producer()
        if node is None or node.domain != "" or not node.inputs:
            return None
        if node.op_type == "Split":
            split, below = node, len(perms)
        elif value is not node.outputs[0] or node.op_type not in _HANDS_ON:
            return None
        elif node.op_type == "Transpose":
            attribute = node.attributes.get("perm")
            perms.append(None if attribute is None else tuple(attribute.as_ints()))
        value = node.inputs[0]
    if value is None or value.dtype not in FLOATS or value.const_value is None:
        return None
    rank = len(_static_shape(value))
    total, ahead = _composed(perms, rank), _composed(perms[below:] if split else [], rank)
    return None if total is None or ahead is None else _Traced(value, total, split, ahead)


def _composed(perms: Sequence[tuple[int, ...] | None], rank: int) -> tuple[int, ...] | None:
    """Return transpositions as one; None if one is of another rank."""
    # Example: W [3, 5, 7] -> Transpose (2, 0, 1) -> Transpose (1, 0, 2) -> MatMul. The first makes [7, 3, 5], the
    # second [3, 7, 5]; together (0, 2, 1): axis i of the result is axis perm[i] of the initializer.
    total = tuple(range(rank))
    for perm in reversed(perms):  # the one nearest the initializer acts first
        axes = tuple(reversed(range(rank))) if perm is None else perm
        if sorted(axes) != list(range(rank)):
            return None
        total = tuple(total[axis] for axis in axes)
    return total


def _static_shape(value: ir.Value) -> tuple[int, ...]:
    tensor = value.const_value
    return tuple(int(str(d)) for d in tensor.shape) if tensor is not None else ()
