"""Writing new nodes: their names, their forms by operator set, constants, and putting nodes in the place of old ones.

A `Builder` collects nodes in the order in which they run. A `GraphBuilder` collects them for a graph, where constants
are initializers, and the functions of `place` put them there; a `FunctionBuilder` closes them into a function.
"""

from dtc.graph.builder.in_function import FunctionBuilder
from dtc.graph.builder.in_graph import (
    GraphBuilder,
    Keep,
    Shared,
    add_initializer,
    insert_before,
    insert_first,
    replace_node,
)
from dtc.graph.builder.names import Names
from dtc.graph.builder.nodes import Builder

__all__ = [
    "Builder",
    "FunctionBuilder",
    "GraphBuilder",
    "Keep",
    "Names",
    "Shared",
    "add_initializer",
    "insert_before",
    "insert_first",
    "replace_node",
]
