"""Low-rank LSTM, GRU and RNN: a MatMul in front of the node, and an operator or a Scan in its place.

The input weight is lowered in front of the node, which keeps its fast kernel. A recurrent weight is taken in two
factors by an operator of domain `dtc`. No standard node takes two factors, so that in standard operators the whole node
becomes a Scan (`dtc.passes.lower.recurrent.scan`). The factors lie in the outer graph: constant to ONNX Runtime, which
packs them once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from dtc.forms import LowRank
from dtc.graph import Reader
from dtc.graph.builder import Builder, GraphBuilder, insert_before, replace_node
from dtc.graph.cells import Cell, cells
from dtc.passes.lower.low_rank.factors import Factor, FactorPart, Factors, LowRankSite, apply
from dtc.passes.lower.low_rank.shared_projection import SharedProjections
from dtc.passes.lower.recurrent.operator import CodedWeight, replace_weight, set_dense_input
from dtc.passes.lower.recurrent.scan import Direction, Scanned, initial_state, join, read_outputs, sample_lengths, scan
from dtc.passes.lower.rewriting import Rewriting
from dtc.passes.prepare.constant_arrays import AnyArray, constant_array

_PROJECTION = "low_rank_1"

_SPANS = {"LSTM": {"iofc": (0, 4)}, "GRU": {"zr": (0, 2), "h": (2, 3)}, "RNN": {"i": (0, 1)}}
"""The gates that one product makes, and where they stand in the weight, in multiples of the state, by operator."""


@dataclass(frozen=True)
class LowRankRecurrence:
    """`h R^T` as `(h right^T) left^T`: two small products."""

    right: Factor
    left: Mapping[str, ir.Value]
    """By gates; each `[rank, gates * H]`."""

    def begin(self, body: Builder, state: ir.Value) -> ir.Value:
        """Return `[batch, rank]`."""
        return apply(body, state, self.right, "project")

    def finish(self, body: Builder, begun: ir.Value, gates: str, addend: ir.Value | None) -> ir.Value:
        """Return `[batch, gates * H]`: one Gemm."""
        return body.gemm(begun, self.left[gates], addend, label="expand")


def lower_input(
    item: LowRankSite, node: ir.Node, factors: Factors, shared: SharedProjections, builder: GraphBuilder
) -> None:
    """Project the input in front of the node, whose W becomes the left factor; all else of it stays.

    A bidirectional node reads the two projections side by side. Its W has a block of zeros for the projection
    that a direction does not read; they are made at load (`Expand`), so that the file does not hold them. One node
    stays one node, its recurrent weights stay unsplit.
    """
    x = node.inputs[0]
    assert x is not None
    projected = [_projected(item, matrix, x, factors, shared, builder) for matrix in range(len(item.forms))]
    lefts = [form.left[None] for form in item.forms]
    if len(lefts) == 1:
        weight = factors.of_site(item, "left", lefts[0], builder.dtype, item.part("left"))
        set_dense_input(node, projected[0], weight, lefts[0].shape[2])
    else:
        # Both directions in one node: x [T, N, 2 rank], the projections side by side, and W [2, gates H, 2 rank],
        # ((left 0, zeros), (zeros, left 1)): what a direction does not read is multiplied by zeros.
        stored = [
            factors.of_site(item, f"left.{index}", left, builder.dtype, FactorPart("left", (index,)))
            for index, left in enumerate(lefts)
        ]
        zero = builder.constant(0.0)
        zeros = builder.op("Expand", [zero, builder.constant(list(lefts[0].shape))])
        rows = [builder.op("Concat", pair, axis=2) for pair in ([stored[0], zeros], [zeros, stored[1]])]
        weight = builder.op("Concat", rows, axis=0)
        weight.shape = ir.Shape([2, lefts[0].shape[1], 2 * lefts[0].shape[2]])
        set_dense_input(node, builder.op("Concat", projected, axis=2), weight, 2 * lefts[0].shape[2])
    insert_before(node, builder)


def lower_to_operator(
    rewriting: Rewriting, item: LowRankSite, reader: Reader, factors: Factors, builder: GraphBuilder
) -> None:
    """Put the operator on the factors of R into the place of the node."""
    left = factors.of_site(
        item, "lefts", np.stack([form.left for form in item.forms]), builder.dtype, item.part("left")
    )
    if item.forms[0].basis is None:
        right = factors.of_site(
            item, "rights", np.stack([form.right for form in item.forms]), builder.dtype, item.part("right")
        )
    else:
        right = _stacked_bases(item, factors, builder)
    insert_before(reader.node, builder)
    replace_weight(rewriting, item.site, reader, CodedWeight(LowRank.kind, (left, right)))


def _stacked_bases(item: LowRankSite, factors: Factors, builder: GraphBuilder) -> ir.Value:
    """Bases that other sites use too, `[directions, rank, H]`; a small copy in memory, none in the file."""
    parts = []
    for index, form in enumerate(item.forms):
        basis = factors.right(item, builder.dtype, index)
        value = basis.value if basis.upright else builder.op("Transpose", [basis.value], perm=[1, 0])
        parts.append(builder.op("Reshape", [value, builder.constant([1, *form.right.shape])]))
    return parts[0] if len(parts) == 1 else builder.op("Concat", parts, axis=0)


def lower_whole(
    recurrent: LowRankSite,
    given: LowRankSite | None,
    node: ir.Node,
    factors: Factors,
    shared: SharedProjections,
    builder: GraphBuilder,
) -> None:
    """Put a Scan in the place of the node: one a direction. `given` is its input weight, if that is low-rank too."""
    x = node.inputs[0]
    assert x is not None
    parts = _Parts(node, recurrent, given, factors, shared, builder)
    lengths = _input(node, 4)
    given_lengths = sample_lengths(builder, x, lengths) if lengths is not None else None
    with_steps = bool(node.outputs[0].uses()) or node.outputs[0].is_graph_output()
    wanted = shared.wanted_of(node, recurrent)
    results: list[Scanned] = []
    for index, cell in enumerate(cells(node)):
        state = [initial_state(builder, _input(node, 5), x, index, cell.hidden)]
        if cell.op_type == "LSTM":
            state.append(initial_state(builder, _input(node, 6), x, index, cell.hidden))
        direction = Direction(
            cell=cell,
            weight=parts.weight(cell, index),
            inputs=parts.inputs(cell, index, x),
            state=tuple(state),
            peepholes=parts.peepholes(cell, index),
            hidden_bias=parts.hidden_bias(cell, index),
            emits_projection=bool(wanted),
        )
        label = "scan_reverse" if cell.reverse else "scan"
        results.append(scan(builder, direction, given_lengths, with_steps=with_steps, label=label))
    # Given out where the node has one direction alone: `wanted_of` returns nothing for two.
    if results[0].projection is not None:
        shared.give(wanted, recurrent, results[0].projection)
    joined = join(builder, results, parts.hidden)
    replace_node(node, builder, read_outputs(node, joined))


class _Parts:
    """The node's weights and biases, direction by direction, as the Scan and what is in front of it read them."""

    def __init__(
        self,
        node: ir.Node,
        recurrent: LowRankSite,
        given: LowRankSite | None,
        factors: Factors,
        shared: SharedProjections,
        builder: GraphBuilder,
    ) -> None:
        self.hidden = node.attributes["hidden_size"].as_int()
        self._node = node
        self._recurrent = recurrent
        self._given = given
        self._factors = factors
        self._shared = shared
        self._builder = builder
        self._bias = constant_array(_input(node, 3))

    def weight(self, cell: Cell, index: int) -> LowRankRecurrence:
        form = self._recurrent.forms[index]
        # A GRU multiplies its left factor [3 H, rank] twice in a step, for z and r first and for h behind them; an
        # LSTM's [4 H, rank] and an RNN's [H, rank] once. Stored transposed, [rank, 2 H] and [rank, H], a product is a
        # Gemm without a Transpose.
        spans = _SPANS[cell.op_type]
        left = {
            gates: self._factors.of_site(
                self._recurrent,
                _tag(self._recurrent, "left" if len(spans) == 1 else f"left.{gates}", index),
                form.left[start * cell.hidden : end * cell.hidden].T,
                self._builder.dtype,
                FactorPart("left", (index,), (start * cell.hidden, end * cell.hidden), transposed=True),
            )
            for gates, (start, end) in spans.items()
        }
        return LowRankRecurrence(self._factors.right(self._recurrent, self._builder.dtype, index), left)

    def inputs(self, cell: Cell, index: int, x: ir.Value) -> tuple[ir.Value, ...]:
        gates = self._project(index, x)
        bias = self._outer_bias(cell, index)
        if bias is not None:
            gates = self._builder.op("Add", [gates, bias])
        if cell.op_type != "GRU":
            return (gates,)
        return tuple(self._builder.split(gates, [2 * cell.hidden, cell.hidden], 2))

    def peepholes(self, cell: Cell, index: int) -> tuple[ir.Value, ...]:
        # P [directions, 3 H] -> i, o, f of this direction, [H] each.
        array = constant_array(_input(self._node, 7)) if cell.op_type == "LSTM" else None
        if array is None:
            return ()
        return tuple(
            self._derived(7, f"{gate}.{index}", part)
            for gate, part in zip("iof", np.split(array[index], 3), strict=True)
        )

    def hidden_bias(self, cell: Cell, index: int) -> ir.Value | None:
        # B [directions, 6 H] is those of the input for z, r, h, then those of the state: the last H are of the state's
        # h.
        if self._bias is None or not cell.linear_before_reset:
            return None
        return self._derived(3, f"hidden.{index}", self._bias[index, 5 * cell.hidden :])

    def _outer_bias(self, cell: Cell, index: int) -> ir.Value | None:
        """Return the sum of the biases that can be added ahead: all but the one that a GRU's reset gate scales."""
        if self._bias is None:
            return None
        # [2 gates H] -> [gates H] twice, added to one bias where nothing stands between them.
        of_input, of_state = np.split(self._bias[index], 2)
        if cell.linear_before_reset:
            of_state = np.concatenate([of_state[: 2 * cell.hidden], np.zeros_like(of_state[2 * cell.hidden :])])
        kind = "linear" if cell.linear_before_reset else "sum"
        return self._derived(3, f"{kind}.{index}", of_input + of_state)

    def _project(self, index: int, x: ir.Value) -> ir.Value:
        """Add `X W^T` of all steps at once, `[T, N, gates * H]`: W dense, or by its two factors."""
        builder, given = self._builder, self._given
        if given is None:
            dense = self._node.inputs[1]
            array = constant_array(dense)
            assert dense is not None
            assert array is not None
            several = array.shape[0] > 1
            weight = self._derived(1, f"transposed.{index}" if several else "transposed", array[index].T)
            if not several:  # the dense weight stays a site under its own name
                self._factors.stands_for(weight, dense)
            return builder.op("MatMul", [x, weight], label="input")
        form = given.forms[index]
        middle = _projected(given, index, x, self._factors, self._shared, builder)
        part = FactorPart("left", (index,), transposed=True)
        left = self._factors.of_site(given, _tag(given, "left", index), form.left.T, builder.dtype, part)
        return builder.op("MatMul", [middle, left], label="low_rank_2")

    def _derived(self, number: int, tag: str, array: AnyArray) -> ir.Value:
        """Return an initializer made of the node's input `number`, one for all nodes that share that input."""
        source = self._node.inputs[number]
        assert source is not None
        name = f"{source.name}.{tag}"
        graph = self._factors.graph_of(source)
        value = self._factors.initializer((id(source), tag), name, array, self._builder.dtype, graph)
        if number != 1:  # a dense W goes, and stands for itself in its transpose
            self._factors.derived.setdefault(self._recurrent.site.name, []).append(value)
        return value


def _projected(
    item: LowRankSite, matrix: int, x: ir.Value, factors: Factors, shared: SharedProjections, builder: GraphBuilder
) -> ir.Value:
    """Return `x right^T`, which the layer before may have computed already, else a node of its own does."""
    given = shared.get(x, item)
    if given is not None:
        return given
    return apply(builder, x, factors.right(item, builder.dtype, matrix), _PROJECTION)


def _tag(item: LowRankSite, tag: str, index: int) -> str:
    return tag if len(item.forms) == 1 else f"{tag}.{index}"


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None
