"""`dtc inspect`: the sites of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dtc.cli.shared_options import json_for_tables

if TYPE_CHECKING:
    from dtc.inspection import Inspection, SiteEstimate
    from dtc.outlook import MethodOutlook

_MANY_NAMES = 0.03
"""Share of a file from where on it is worth a word that names can be taken out."""


@click.command("inspect")
@click.argument("model", type=click.Path(path_type=Path))
@json_for_tables
@click.option("--sites", "every_site", is_flag=True, help="print a row for each site, of many alike too")
def command(model: Path, *, as_json: bool, every_site: bool) -> None:
    """Show what of a model can be compressed.

    How much of MODEL each method would save, what can be retrained, the sites, what each method would save there, and
    what cannot be compressed or retrained, and why.
    """
    from dtc.inspection import inspect_model

    found = inspect_model(model)
    if as_json:
        click.echo(found.to_json(indent=2))
    else:
        _show(found, every=every_site)


def _show(found: Inspection, *, every: bool) -> None:
    from dtc.cli.render import shape, size, table, tell

    tell(f"{found.path}: {size(found.file_bytes)}, opset {found.opset}, IR {found.ir_version}")
    if found.sites:
        held = sum(site.nbytes for site in found.sites)
        tell(
            f"{len(found.sites)} sites, weights that can be compressed, hold {held / found.file_bytes:.1%} of the file"
        )
        _show_methods(found.methods)
        _show_retraining(found.sites)
        _show_sites(found.sites, every=every)
    else:
        tell("no float weight that dtc can compress")
    if found.leftovers:
        left = [[item.name, shape(item.shape), item.dtype, size(item.nbytes), item.reason] for item in found.leftovers]
        table(["left as it is", "shape", "dtype", ">bytes", "why"], left)
    if found.other_bytes:
        tell(f"and {size(found.other_bytes)} in small initializers (biases, shapes, constants)")
    if found.names_bytes >= _MANY_NAMES * found.file_bytes:
        share = f"{found.names_bytes / found.file_bytes:.1%}"
        tell(f"names, descriptions and types of what flows between nodes hold {share}, which --strip-names takes out")


def _show_methods(methods: Sequence[MethodOutlook]) -> None:
    from dtc.cli.render import size, table, tell
    from dtc.passes.options import flag

    tell("what each method would make of the whole file, about, without samples (dtc methods NAME: its options):")
    rows: dict[tuple[str, ...], list[str]] = {}
    for each in methods:
        options = " ".join(f"{flag(name)} {value}" for name, value in each.options.items())
        rows.setdefault((options, size(each.file_bytes), f"{each.ratio:.1f}x", str(each.sites)), []).append(each.method)
    table(
        ["method", "with", ">file", ">smaller", ">sites"],
        [[", ".join(names), *facts] for facts, names in rows.items()],
    )


def _show_retraining(sites: Sequence[SiteEstimate]) -> None:
    from dtc.cli.render import tell

    obstacles = Counter((site.obstacle, site.engines) for site in sites if site.obstacle is not None)
    if not obstacles:
        tell("nothing in the graph stands in the way of retraining (--retrain)")
        return
    trained = len(sites) - sum(count for (_, engines), count in obstacles.items() if not engines)
    tell(f"{trained} of {len(sites)} sites can be retrained (--retrain), as far as the graph tells")
    for (reason, engines), count in obstacles.items():
        by = " or ".join(f"--engine {name}" for name in engines)
        tell(f"  {count} {f'by {by} alone' if engines else 'cannot'}: {reason}")


def _show_sites(sites: Sequence[SiteEstimate], *, every: bool) -> None:
    from dtc.cli.alike import labels, together
    from dtc.cli.render import shape, size, table, tell

    groups = together(sites, lambda site: (_role(site), shape(site.shape), ""), every=every)
    names, beginning = labels([[site.name for site in group] for group in groups])
    rows = [
        [
            name,
            _role(group[0]),
            shape(group[0].shape),
            size(sum(site.nbytes for site in group)),
            f"{sum(site.share for site in group):.1%}",
        ]
        for name, group in zip(names, groups, strict=True)
    ]
    if beginning:
        tell(f"names of sites, all behind {beginning!r}:")
    table(["site", "role", "shape", ">bytes", ">share"], rows)
    if len(groups) < len(sites):
        tell(f"{len(sites)} sites, like ones in one row with the bytes of all of them (--sites: each)")
    methods = _methods(sites)
    told = {(shape(site.shape), *(site.estimate[names[0]] for names in methods)): None for site in sites}
    tell("what each method would make of a site, by its shape:")
    table(["shape", *map(", ".join, methods)], list(told))


def _methods(sites: Sequence[SiteEstimate]) -> list[list[str]]:
    """Return the names of all methods, those together that would give the same everywhere."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name in sites[0].estimate:
        found.setdefault(tuple(site.estimate[name] for site in sites), []).append(name)
    return list(found.values())


def _role(site: SiteEstimate) -> str:
    return site.role + (f" (+{len(site.readers) - 1})" if len(site.readers) > 1 else "")
