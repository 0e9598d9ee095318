"""A model in memory and the same one as its file was read: values and nodes of the one have twins in the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx_ir as ir

from dtc.checking.sites.cones import Cone
from dtc.checking.sites.regions import Regions
from dtc.graph import all_graphs


def on_file(regions: Regions, written: ir.Model, file: ir.Model) -> Regions:
    """Return regions of a model that was written as those of its file, whose nodes stand in the same order."""
    nodes = dict(zip(written.graph.all_nodes(), file.graph.all_nodes(), strict=True))
    values = dict(zip(_values(written), _values(file), strict=True))

    def twin(cone: Cone) -> Cone:
        return Cone(
            tuple(values[value] for value in cone.outputs),
            tuple(values[value] for value in cone.stops),
            tuple(values[value] for value in cone.initializers),
            tuple(nodes[node] for node in cone.constant),
            tuple(nodes[node] for node in cone.dependent),
        )

    found = tuple(
        replace(
            region,
            lowered=twin(region.lowered),
            inputs=tuple((value, values[other]) for value, other in region.inputs),
        )
        for region in regions.found
    )
    return replace(regions, found=found)


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in all_graphs(model):
        yield from graph.inputs
        yield from (graph.initializers[name] for name in sorted(graph.initializers))
        for node in graph:
            yield from node.outputs
