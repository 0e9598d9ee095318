"""Initializers as a file needs them: the tensor says its type and shape, and nothing has to say them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir

from dtc.graph.walk import all_graphs


@contextmanager
def bare_initializers(model: ir.Model) -> Iterator[None]:
    """Leave out of what is written meanwhile the `value_info` of initializers, which onnx-ir writes for each of them.

    An entry takes some 40 bytes: of silero v4 in coded factors, whose 396 small arrays take 82 kB, they were 13 kB.
    """
    described: list[tuple[ir.Value, ir.TypeProtocol | None, ir.Shape | None]] = []
    for graph in all_graphs(model):
        for value in graph.initializers.values():
            # A graph's inputs and outputs are described in any case.
            if value.const_value is not None and not value.is_graph_input() and not value.is_graph_output():
                described.append((value, value.type, value.shape))
                value.type, value.shape = None, None
    try:
        yield
    finally:
        for value, kind, shape in described:
            value.type, value.shape = kind, shape
