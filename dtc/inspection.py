"""The contents of a model: its sites, the saving of each method there, and the weights that are no sites."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import onnx_ir as ir
from pydantic import Field

from dtc.damage import damage_named
from dtc.document import Document, DocumentPart
from dtc.graph import Site, all_graphs, file_bytes, find_sites, load_model, why_no_site
from dtc.passes.method import methods
from dtc.passes.prepare import normalise
from dtc.site_facts import SiteFacts, site_facts

NOTEWORTHY = 1024
"""Bytes; smaller initializers are summed up and not listed."""


class SiteEstimate(SiteFacts):
    """A site, and the estimate of each method for it, in words, by the method's name."""

    estimate: dict[str, str]


class Leftover(DocumentPart):
    """An initializer that is no site, and the reason."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    reason: str


class Inspection(Document):
    """Everything that `dtc inspect` shows; `--json` prints this document."""

    schema_: Literal["dtc-inspect/1"] = Field("dtc-inspect/1", alias="schema")
    path: str
    file_bytes: int
    opset: int
    ir_version: int
    sites: tuple[SiteEstimate, ...]
    leftovers: tuple[Leftover, ...]
    other_bytes: int


def inspect_model(path: str | Path) -> Inspection:
    """Return the sites, the large other initializers, and the sizes of a model file.

    Raises:
        ModelError: The file cannot be read as a model.
    """
    with damage_named(Path(path)):
        return _inspect(path, load_model(path))


def _inspect(path: str | Path, model: ir.Model) -> Inspection:
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
        sites=tuple(_estimate(site, size) for site in sites),
        leftovers=leftovers,
        other_bytes=other,
    )


def _estimate(site: Site, size: int) -> SiteEstimate:
    rows, cols = site.view.rows, site.view.cols
    said = {name: method.estimate(rows, cols) for name, method in methods().items()}
    return SiteEstimate(**site_facts(site, size), estimate=said)


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
            listed.append(
                Leftover(
                    name=value.name or "",
                    shape=shape,
                    dtype=str(tensor.dtype),
                    nbytes=tensor.nbytes,
                    reason=_reason(value),
                )
            )
    return tuple(sorted(listed, key=lambda item: -item.nbytes)), other


def _reason(value: ir.Value) -> str:
    if value.dtype is not None and not value.dtype.is_floating_point():
        return "not a float weight (already quantized, or an index)"
    return why_no_site(value)
