"""`dtc inspect`: the sites of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dtc.cli.shared_options import json_for_tables

if TYPE_CHECKING:
    from dtc.inspection import Inspection


@click.command("inspect")
@click.argument("model", type=click.Path(path_type=Path))
@json_for_tables
def command(model: Path, *, as_json: bool) -> None:
    """Show what of a model can be compressed.

    The sites of MODEL, what each method would save there, and what cannot be compressed and why.
    """
    from dtc.inspection import inspect_model

    found = inspect_model(model)
    if as_json:
        click.echo(found.to_json(indent=2))
    else:
        _show(found)


def _show(found: Inspection) -> None:
    from dtc.cli.render import shape, size, table, tell

    tell(f"{found.path}: {size(found.file_bytes)}, opset {found.opset}, IR {found.ir_version}")
    rows = [
        [
            site.name,
            site.role + (f" (+{len(site.readers) - 1})" if len(site.readers) > 1 else ""),
            shape(site.shape),
            size(site.nbytes),
            f"{site.share:.1%}",
            *site.estimate.values(),
        ]
        for site in found.sites
    ]
    names = list(found.sites[0].estimate) if found.sites else []
    if rows:
        table(["site", "role", "shape", ">bytes", ">share", *names], rows)
    else:
        tell("no float weight that dtc can compress")
    if found.leftovers:
        left = [[item.name, shape(item.shape), item.dtype, size(item.nbytes), item.reason] for item in found.leftovers]
        table(["left as it is", "shape", "dtype", ">bytes", "why"], left)
    if found.other_bytes:
        tell(f"and {size(found.other_bytes)} in small initializers (biases, shapes, constants)")
