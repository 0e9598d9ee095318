"""The contents of a model: its sites, the saving of each method there, and the weights that are no sites."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import onnx_ir as ir
from pydantic import Field

from dtc.damage import damage_named
from dtc.document import Document, DocumentPart
from dtc.graph import Site, file_bytes, find_sites, load_model
from dtc.outlook import MethodOutlook, outlooks
from dtc.passes.lean import names_bytes
from dtc.passes.leftovers import NOTEWORTHY, find_unused
from dtc.passes.method import methods
from dtc.passes.prepare import normalise
from dtc.site_facts import SiteFacts, site_facts
from dtc.training.obstacles import Obstacle, find_obstacles


class SiteEstimate(SiteFacts):
    """A site, the estimate of each method for it, in words, by the method's name, and whether it can be retrained.

    Attributes:
        estimate: What each method would make of it.
        obstacle: What in the graph stands in the way of retraining it, None where nothing does; an engine may lack the
            gradient of an operator all the same.
        engines: The names of the engines that retrain it in spite of the obstacle.
    """

    estimate: dict[str, str]
    obstacle: str | None
    engines: tuple[str, ...]


class Leftover(DocumentPart):
    """A weight that is no site, and the reason; smaller ones are summed up and not listed."""

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
    methods: tuple[MethodOutlook, ...]
    sites: tuple[SiteEstimate, ...]
    leftovers: tuple[Leftover, ...]
    other_bytes: int
    names_bytes: int = 0


def inspect_model(path: str | Path) -> Inspection:
    """Return the sites, the large other initializers, and the sizes of a model file.

    Raises:
        ModelError: The file cannot be read as a model.
    """
    with damage_named(Path(path)):
        return _inspect(path, load_model(path))


def _inspect(path: str | Path, model: ir.Model) -> Inspection:
    opset, ir_version = model.opset_imports.get("", 0), model.ir_version
    size, names = file_bytes(Path(path), model), names_bytes(model)
    normalise(model)
    sites = find_sites(model)
    leftovers, other = _leftovers(model, sites)
    obstacles = find_obstacles(model, sites)
    return Inspection(
        path=str(path),
        file_bytes=size,
        opset=opset,
        ir_version=ir_version,
        methods=outlooks(model, size) if sites else (),
        sites=tuple(_estimate(site, size, obstacles.get(site.name)) for site in sites),
        leftovers=leftovers,
        other_bytes=other,
        names_bytes=names,
    )


def _estimate(site: Site, size: int, obstacle: Obstacle | None) -> SiteEstimate:
    rows, cols = site.view.rows, site.view.cols
    said = {name: method.estimate(rows, cols) for name, method in methods().items()}
    reason, able = (None, ()) if obstacle is None else (obstacle.reason, obstacle.engines)
    return SiteEstimate(**site_facts(site, size), estimate=said, obstacle=reason, engines=able)


def _leftovers(model: ir.Model, sites: list[Site]) -> tuple[tuple[Leftover, ...], int]:
    """Return the large weights that are no sites, and the bytes of the small ones."""
    unused = find_unused(model, sites)
    listed = tuple(
        Leftover(
            name=each.name,
            shape=tuple(int(str(dim)) for dim in each.tensor.shape),
            dtype=str(each.tensor.dtype),
            nbytes=each.nbytes,
            reason=each.reason,
        )
        for each in unused
        if each.nbytes >= NOTEWORTHY
    )
    return listed, sum(each.nbytes for each in unused if each.nbytes < NOTEWORTHY)
