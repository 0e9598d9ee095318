"""What integers a model takes: rows of tables, lengths of sequences, tokens; told by the nodes that read them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import onnx_ir as ir

from dtc.graph.signature import input_specs
from dtc.graph.walk import all_nodes
from dtc.sample_inputs.shapes import Shapes

Steps: TypeAlias = tuple[str, int] | int
"""The number of steps of a sequence, or the input and the axis that tell it."""

_SAME_NUMBERS = frozenset(
    {"Identity", "Dropout", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Slice", "Expand"}
)
_COUNTS = _SAME_NUMBERS | {"ReduceSum", "Add", "Sub", "ReduceMax"}

_FUSED = "com.microsoft"

_LOOKED_UP: Mapping[tuple[str, str], Sequence[tuple[int, int]]] = {
    ("", "Gather"): ((1, 0),),
    ("", "RotaryEmbedding"): ((3, 1),),
    (_FUSED, "RotaryEmbedding"): ((1, 2),),
    (_FUSED, "GroupQueryAttention"): ((9, 7),),
    (_FUSED, "GatherBlockQuantized"): ((1, 0),),
    (_FUSED, "EmbedLayerNormalization"): ((0, 2), (1, 4), (8, 3)),
}
"""Inputs that are indices, and the tables that they look up, by operator."""

_PAST_KEYS, _LAST, _TOTAL = 3, 5, 6
"""Inputs of a GroupQueryAttention: keys `[batch, heads, past, ...]`, the place of each last token int32 `[batch]`, and
the number of all tokens."""


@dataclass(frozen=True)
class IntegerRanges:
    """Which integers each input of a model takes.

    Attributes:
        tables: Rows of the smallest table that an input indexes.
        lengths: Where the number of steps is told to which an input of sequence lengths is held.
        masks: Inputs whose sum is the number of tokens: full of ones, as there are as many as the sequence is long.
        places: Inputs that give the place of the last token.
        totals: Inputs that give the number of all tokens.
        tokens: The inputs, with an axis, whose sizes add up to all tokens.
    """

    tables: Mapping[str, int]
    lengths: Mapping[str, Steps]
    masks: frozenset[str]
    places: frozenset[str]
    totals: frozenset[str]
    tokens: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, model: ir.Model) -> Self:
        """Return the ranges that the nodes of a model tell."""
        masks, places, totals, tokens = set(), set(), set(), set()
        for node in all_nodes(model):
            if (node.domain, node.op_type) != (_FUSED, "GroupQueryAttention"):
                continue
            if (name := graph_input(_input(node, _LAST))) is not None:
                places.add(name)
            elif (name := graph_input(_input(node, _LAST), _COUNTS)) is not None:
                masks.add(name)
            if (name := graph_input(_input(node, _TOTAL))) is not None:
                totals.add(name)
            if (name := graph_input(_input(node, _PAST_KEYS))) is not None:
                tokens.add((name, 2))
        pasts = {name for name, _ in tokens}
        new = next((s.name for s in input_specs(model) if len(s.shape) > 1 and s.name not in pasts | masks), None)
        first = {(min(pasts), 2)} if pasts else set()
        counted = frozenset(first | ({(new, 1)} if new is not None else set()))
        lengths = sequence_lengths(model)
        return cls(table_rows(model), lengths, frozenset(masks), frozenset(places), frozenset(totals), counted)

    def range(self, name: str, shapes: Shapes) -> tuple[int, int]:
        """Return the half-open range of an integer input."""
        if name in self.lengths:
            steps = self.lengths[name]
            longest = steps if isinstance(steps, int) else shapes.get(steps[0], (1,))[steps[1]]
            return 1, max(2, longest + 1)
        if name in self.masks:
            return 1, 2
        if name in self.places | self.totals:
            total = sum(shapes[each][axis] for each, axis in self.tokens if each in shapes)
            last = total - (name in self.places)
            return last, last + 1
        return 0, self.tables.get(name, 2)


def table_rows(model: ir.Model) -> dict[str, int]:
    """Return for each integer input the number of rows of the smallest table that it indexes."""
    found: dict[str, int] = {}
    for node in all_nodes(model):
        for index, table in _LOOKED_UP.get((node.domain, node.op_type), ()):
            source, looked_up = graph_input(_input(node, index)), _input(node, table)
            if source is None or looked_up is None or looked_up.shape is None:
                continue
            axis = node.attributes.get_int("axis", 0) if node.op_type == "Gather" else 0
            rows = looked_up.shape[axis or 0]
            if isinstance(rows, int) and rows > 0:
                found[source] = min(rows, found.get(source, rows))
    return found


def sequence_lengths(model: ir.Model) -> dict[str, Steps]:
    """Return for each input of sequence lengths the number of steps, or the input and axis that tell it."""
    inputs = {spec.name: spec for spec in input_specs(model)}
    found: dict[str, Steps] = {}
    for node in all_nodes(model):
        if node.domain != "" or node.op_type not in {"LSTM", "GRU", "RNN"} or len(node.inputs) < 5:
            continue
        source, x = graph_input(node.inputs[4]), node.inputs[0]
        if source is None or source in found:
            continue
        steps = x.shape[0] if x is not None and x.shape is not None else 1
        places = [
            (spec.name, spec.shape.index(steps.value))
            for spec in inputs.values()
            if isinstance(steps, ir.SymbolicDim) and steps.value in spec.shape
        ]
        found[source] = steps if isinstance(steps, int) else places[0] if places else 1
    return found


def graph_input(value: ir.Value | None, through: Container[str] = _SAME_NUMBERS) -> str | None:
    """Return the graph input that numbers come from, followed upstream through operators, which only move them."""
    while value is not None and not value.is_graph_input():
        node = value.producer()
        if node is None or node.domain != "" or node.op_type not in through:
            return None
        value = node.inputs[0]
    return None if value is None else value.name


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None
