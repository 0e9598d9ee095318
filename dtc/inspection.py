"""What a model holds: its sites, what each method could save there, and what cannot be compressed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from dtc.graph import Site, all_graphs, file_bytes, find_sites, load_model
from dtc.passes.method import methods
from dtc.passes.prepare import normalise

NOTEWORTHY = 1024
"""Bytes; smaller initializers are summed up and not listed."""


@dataclass(frozen=True)
class SiteFacts:
    """One site: what it is, and what each method says of it."""

    name: str
    role: str
    readers: tuple[str, ...]
    shape: tuple[int, ...]
    matrices: tuple[int, int, int]
    dtype: str
    nbytes: int
    share: float
    estimate: dict[str, str]


@dataclass(frozen=True)
class Leftover:
    """An initializer that is no site, and why."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    reason: str


@dataclass(frozen=True)
class Inspection:
    """Everything `dtc inspect` shows."""

    path: str
    file_bytes: int
    opset: int
    ir_version: int
    sites: tuple[SiteFacts, ...]
    leftovers: tuple[Leftover, ...]
    other_bytes: int


def inspect_model(path: str | Path) -> Inspection:
    """Return what a model file holds.

    Raises:
        ModelError: The file cannot be read as a model.
    """
    model = load_model(path)
    opset, ir_version = model.opset_imports.get("", 0), model.ir_version
    size = file_bytes(Path(path), model)
    normalise(model)
    sites = find_sites(model)
    leftovers, other = _leftovers(model, {id(site.value) for site in sites})
    return Inspection(
        path=str(path),
        file_bytes=size,
        opset=opset,
        ir_version=ir_version,
        sites=tuple(_facts(site, size) for site in sites),
        leftovers=leftovers,
        other_bytes=other,
    )


def _facts(site: Site, size: int) -> SiteFacts:
    view = site.view
    return SiteFacts(
        name=site.name,
        role=str(site.role),
        readers=tuple(f"{reader.node_name} ({reader.role})" for reader in site.readers),
        shape=site.shape,
        matrices=(view.count, view.rows, view.cols),
        dtype=str(site.value.dtype),
        nbytes=site.nbytes,
        share=site.nbytes / size,
        estimate={name: method.estimate(view.rows, view.cols) for name, method in methods().items()},
    )


def _leftovers(model: ir.Model, known: set[int]) -> tuple[tuple[Leftover, ...], int]:
    listed, other = [], 0
    for graph in all_graphs(model):
        for value in graph.initializers.values():
            tensor = value.const_value
            if id(value) in known or tensor is None:
                continue
            if tensor.nbytes < NOTEWORTHY:
                other += tensor.nbytes
                continue
            shape = tuple(int(str(d)) for d in tensor.shape)
            listed.append(Leftover(value.name or "", shape, str(tensor.dtype), tensor.nbytes, _reason(value)))
    return tuple(sorted(listed, key=lambda item: -item.nbytes)), other


def _reason(value: ir.Value) -> str:
    if value.dtype is not None and not value.dtype.is_floating_point():
        return "not a float weight (already quantized, or an index)"
    readers = sorted({node.op_type for node in value.consumers()})
    return f"read by {', '.join(readers) or 'nothing'}: no role of a compressible weight"
