"""`dtc bench`: models side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dtc.cli.shared_options import custom_ops, fixed_inputs, portable


@click.command("bench")
@click.argument("models", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="of ONNX Runtime")
@click.option("--batch", type=click.IntRange(min=1), help="size of the free batch dimension")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=3.0, show_default=True, help="for all together")
@fixed_inputs
@portable
@custom_ops
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def command(models: tuple[Path, ...], **options: Any) -> None:
    """Measure models side by side.

    Latency and memory of MODELS, in one run, in turns, on the same inputs.
    """
    from dtc.checking import BenchReport, bench
    from dtc.cli.parse import fixed_inputs
    from dtc.cli.render import milliseconds, size, table, tell
    from dtc.custom_ops import custom_ops

    with custom_ops(options["custom_ops"]):
        rows = bench(
            models,
            threads=options["threads"],
            batch=options["batch"],
            seconds=options["seconds"],
            fixed=fixed_inputs(options["inputs"]),
            native=not options["portable"],
        )
    if options["as_json"]:
        click.echo(BenchReport(models=tuple(rows)).to_json(indent=2))
        return
    first = rows[0].latency.median
    table(
        ["model", ">file", ">median", ">p10", ">p90", ">speed-up", ">memory"],
        [
            [
                str(row.path),
                size(row.file_bytes),
                milliseconds(row.latency.median),
                milliseconds(row.latency.p10),
                milliseconds(row.latency.p90),
                f"{first / row.latency.median:.2f}x",
                size(row.memory.taken) if row.memory else "",
            ]
            for row in rows
        ],
    )
    versions = ", ".join(f"{name} {number}" for name, number in rows[0].versions.items())
    shapes = ", ".join(f"{name} {list(dims)}" for name, dims in rows[0].inputs.items())
    tell(f"{rows[0].machine}; {versions}; {rows[0].threads} threads; inputs {shapes}")
