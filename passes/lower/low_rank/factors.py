"""The factors of low-rank sites as initializers: each once, in the orientation that its readers need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.forms import LowRank
from dtc.graph import Reader, Role, Site, nesting
from dtc.graph.builder import Builder, Keep, Names, add_initializer

Side = Literal["left", "right"]


@dataclass(frozen=True)
class Factor:
    """A matrix `F [to, from]` that is applied to vectors; stored as `F` (`upright`), or as its transpose."""

    value: ir.Value
    upright: bool

    def turned(self) -> Factor:
        """Return the factor's transpose: the same initializer."""
        return Factor(self.value, not self.upright)


def apply(builder: Builder, x: ir.Value, factor: Factor, label: str) -> ir.Value:
    """Add nodes for `F x` over the last dimension of `x`.

    An upright factor is read by a Gemm, which transposes as it multiplies: ONNX Runtime would fold a Transpose
    into a second copy.
    """
    if not factor.upright:
        return builder.op("MatMul", [x, factor.value], label=label)
    if x.shape is not None and len(x.shape) == 2:
        return builder.gemm(x, factor.value, transB=1, label=label)
    assert factor.value.shape is not None
    to, source = (int(str(size)) for size in factor.value.shape)
    # Gemm takes matrices alone: [..., from] -> [n, from] -> [n, to] -> [..., to].
    rows = builder.op("Reshape", [x, builder.constant([-1, source])])
    product = builder.gemm(rows, factor.value, transB=1, label=label)
    sizes = builder.op("Concat", [builder.leading_sizes(x), builder.constant([to])], axis=0, dtype=ir.DataType.INT64)
    return builder.op("Reshape", [product, sizes])


@dataclass(frozen=True)
class FactorPart:
    """A part of a site's factors.

    Attributes:
        side: Which factor.
        matrices: Of which matrices of the site, in order.
        rows: Which rows of each, from and to; None: all.
        transposed: Whether it is stored transposed, as `[..., in, out]` of a factor `[out, in]`.
        as_read: Whether it is stored as its reader's view has it instead.
    """

    side: Side
    matrices: tuple[int, ...]
    rows: tuple[int, int] | None = None
    transposed: bool = False
    as_read: bool = False


@dataclass(frozen=True, eq=False)
class LowRankSite:
    """A site with the factors of its matrices.

    `coded`: they are not stored as they are, but coded in turn, and no operator on factors takes them so.
    """

    site: Site
    forms: tuple[LowRank, ...]
    coded: bool = False

    def part(self, side: Side, *, transposed: bool = False) -> FactorPart:
        """Return the whole of a factor, of all matrices."""
        return FactorPart(side, tuple(range(len(self.forms))), transposed=transposed)


class Factors:
    """Makes the initializers for the factors of all sites of a model, each at the first request."""

    def __init__(self, model: ir.Model, items: Sequence[LowRankSite], names: Names, keep: Keep = ir.tensor) -> None:
        self._names, self._keep = names, keep
        self._main = model.graph
        self._paths = nesting(model)
        self._made: dict[tuple[object, ...], ir.Value] = {}
        self.parts: dict[str, dict[ir.Value, FactorPart]] = {}
        """What each initializer of a site's own holds of its factors, by site."""
        self.derived: dict[str, list[ir.Value]] = {}
        """What was made of a node's other inputs where a site's weight is in factors, such as its biases, by site."""
        self.heirs: dict[ir.Value, ir.Value] = {}
        """Dense weights that go, and the initializers that stand for them under their names."""
        self._upright = _orientations(items)
        self._basis_graphs: dict[str, set[ir.Graph]] = {}
        for item in items:
            for label in (form.basis for form in item.forms):
                if label is not None:
                    self._basis_graphs.setdefault(label, set()).add(self.graph_of(item.site.value))

    def graph_of(self, value: ir.Value) -> ir.Graph:
        """Return the graph that holds the initializer `value`; the main graph for a value that is none."""
        return value.graph if isinstance(value.graph, ir.Graph) else self._main

    def initializer(
        self, key: tuple[object, ...], name: str, array: npt.NDArray[Any], dtype: ir.DataType, graph: ir.Graph
    ) -> ir.Value:
        """Return the initializer made for `key`, making it on the first call."""
        key = (*key, dtype)
        if key not in self._made:
            name = self._names.unique(name)
            tensor = ir.tensor(np.ascontiguousarray(array).astype(dtype.numpy(), copy=False), dtype=dtype)
            self._made[key] = add_initializer(graph, name, self._keep(tensor))
        return self._made[key]

    def of_site(
        self, item: LowRankSite, tag: str, array: npt.NDArray[Any], dtype: ir.DataType, part: FactorPart
    ) -> ir.Value:
        """Return the initializer of a part of the site's factors, called `<weight>.<tag>`."""
        site = item.site
        value = self.initializer((site.name, tag), f"{site.name}.{tag}", array, dtype, self.graph_of(site.value))
        self.parts.setdefault(site.name, {})[value] = part
        return value

    def stands_for(self, value: ir.Value, dense: ir.Value) -> None:
        """Give `value` the name of the weight `dense` once that weight is gone from the model."""
        self.heirs[dense] = value

    def take_freed_names(self) -> None:
        """Rename the initializers that `stands_for` noted, where their weights are gone by now."""
        for dense, value in self.heirs.items():
            if dense.name is not None and not any(dense.name in graph.initializers for graph in self._paths):
                value.name = dense.name

    def left(self, item: LowRankSite, dtype: ir.DataType) -> Factor:
        """Return the left factor `[out, rank]` of a site that is one matrix."""
        upright = self._upright[item.site.name, "left"]
        array = item.forms[0].left if upright else item.forms[0].left.T
        return Factor(self.of_site(item, "left", array, dtype, item.part("left", transposed=not upright)), upright)

    def right(self, item: LowRankSite, dtype: ir.DataType, matrix: int = 0) -> Factor:
        """Return the right factor `[rank, in]` of one matrix of a site: shared where the form names a basis."""
        form = item.forms[matrix]
        upright = self._upright[form.basis or item.site.name, "right"]
        array = form.right if upright else form.right.T
        if form.basis is None:
            tag = "right" if len(item.forms) == 1 else f"right.{matrix}"
            part = FactorPart("right", (matrix,), transposed=not upright)
            return Factor(self.of_site(item, tag, array, dtype, part), upright)
        graph = self._common(self._basis_graphs[form.basis])
        return Factor(self.initializer(("basis", form.basis), form.basis, array, dtype, graph), upright)

    def linear(self, item: LowRankSite, reader: Reader, dtype: ir.DataType) -> tuple[Factor, Factor]:
        """Return the factors in the order in which they act at `reader`, which may read the site's transpose."""
        left, right = self.left(item, dtype), self.right(item, dtype)
        return (left.turned(), right.turned()) if is_turned(item.site, reader) else (right, left)

    def _common(self, graphs: set[ir.Graph]) -> ir.Graph:
        # Paths of nested graphs, outer first: the last graph common to all is the innermost one that all can read.
        shared = [graph for graph in self._paths[next(iter(graphs))] if all(graph in self._paths[g] for g in graphs)]
        return shared[-1]


def is_turned(site: Site, reader: Reader) -> bool:
    """True if the reader's matrix is the transpose of the site's."""
    return reader.view.perm != site.view.perm


def _orientations(items: Sequence[LowRankSite]) -> dict[tuple[str, Side], bool]:
    """Return whether each factor is stored upright, by site (or basis) and side.

    The first reader's preference decides, unless a later reader requires one orientation: then the first requirement.
    """
    chosen: dict[tuple[str, Side], bool] = {}
    fixed: set[tuple[str, Side]] = set()
    for item in items:
        for reader in item.site.readers:
            for side, upright, must in _wishes(item.site, reader):
                name = item.site.name
                # A basis is stored once for all sites that name it, so it has one orientation, under its own name.
                if side == "right" and item.forms[0].basis is not None:
                    for form in item.forms:
                        chosen.setdefault((form.basis or name, side), upright)
                    name = item.forms[0].basis
                # A requirement overrides preferences; of two that contradict each other the first holds.
                if must and (name, side) not in fixed:
                    chosen[name, side] = upright
                    fixed.add((name, side))
                chosen.setdefault((name, side), upright)
    return chosen


def _wishes(site: Site, reader: Reader) -> list[tuple[Side, bool, bool]]:
    """Return what a reader prefers for each factor: its side, upright or not, and whether the reader requires that."""
    # `first` and `second` are the factors in the order in which they act, F [to, from] each; upright is F as it is.
    match reader.role:
        case Role.EMBEDDING:
            # Gather takes rows of the left factor [out, rank], which must be upright; a MatMul multiplies them with the
            # right one [rank, in].
            first, second = True, True
            musts = (False, True)
        case Role.MATMUL if reader.index == 0:
            # left @ (right @ x): two MatMuls whose left operands are the factors as they are.
            first, second = True, True
            musts = (True, True)
        case Role.GEMM:
            # A Gemm reads either orientation, by transB; that of the dense weight is as good as any.
            left = reader.index == 0
            first = second = bool(reader.node.attributes.get_int("transA" if left else "transB", 0)) != left
            musts = (False, False)
        case _:
            # x @ right^T @ left^T: stored transposed, each product is a MatMul with the initializer.
            first, second = False, False
            musts = (False, False)
    # W^T = right^T left^T: of the transpose the left factor acts first, and upright there is transposed here.
    if is_turned(site, reader):
        return [("left", not first, musts[0]), ("right", not second, musts[1])]
    return [("right", first, musts[0]), ("left", second, musts[1])]
