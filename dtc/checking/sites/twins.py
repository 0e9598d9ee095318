"""A model in memory and the same one as its file was read: values and nodes of the one have twins in the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx_ir as ir

from dtc.checking.sites.cones import Cone
from dtc.checking.sites.regions import Regions
from dtc.graph import all_graphs


def on_file(regions: Regions, written: ir.Model, file: ir.Model) -> Regions:
    """Return regions of a model that was written as those of its file, which has the same names in the same graphs."""
    values: dict[ir.Value, ir.Value] = {}
    for ours, theirs in zip(all_graphs(written), all_graphs(file), strict=True):
        named = {value.name: value for value in _values(theirs)}
        values.update((value, named[value.name]) for value in _values(ours))

    def twin(cone: Cone) -> Cone:
        # An initializer that came as the sparse value of a node is one in the file.
        initializers = [values[value] for value in cone.initializers]
        made = [node for value in initializers if (node := value.producer()) is not None]
        return Cone(
            tuple(values[value] for value in cone.outputs),
            tuple(values[value] for value in cone.stops),
            tuple(value for value in initializers if value.producer() is None),
            (*made, *(node_of(node) for node in cone.constant)),
            tuple(node_of(node) for node in cone.dependent),
        )

    def node_of(node: ir.Node) -> ir.Node:
        found = next(values[value].producer() for value in node.outputs if value.name)
        assert found is not None
        return found

    found = tuple(
        replace(
            region,
            lowered=twin(region.lowered),
            inputs=tuple((value, values[other]) for value, other in region.inputs),
        )
        for region in regions.found
    )
    return replace(regions, found=found)


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from (*graph.inputs, *graph.initializers.values())
    for node in graph:
        yield from (value for value in node.outputs if value.name)
