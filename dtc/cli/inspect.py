"""`dtc inspect`: the sites of a model."""

from __future__ import annotations

from pathlib import Path

import click

from dtc.cli.jsonable import to_json
from dtc.cli.render import console, shape, size, table
from dtc.inspection import Inspection, inspect_model


@click.command("inspect")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of tables")
def command(model: Path, *, as_json: bool) -> None:
    """Show the sites of MODEL: what can be compressed, what each method would save, and what cannot be."""
    found = inspect_model(model)
    if as_json:
        click.echo(to_json(found))
    else:
        _show(found)


def _show(found: Inspection) -> None:
    console.print(f"{found.path}: {size(found.file_bytes)}, opset {found.opset}, IR {found.ir_version}")
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
        console.print("no float weight that dtc can compress")
    if found.leftovers:
        left = [[item.name, shape(item.shape), item.dtype, size(item.nbytes), item.reason] for item in found.leftovers]
        table(["left as it is", "shape", "dtype", ">bytes", "why"], left)
    if found.other_bytes:
        console.print(f"and {size(found.other_bytes)} in small initializers (biases, shapes, constants)")
