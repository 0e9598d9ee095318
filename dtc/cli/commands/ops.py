"""`dtc ops`: the native operators."""

from __future__ import annotations

from pathlib import Path

import click

from dtc.errors import LibraryError


@click.group("ops", invoke_without_command=True)
@click.option("--path", "only_path", is_flag=True, help="print where the native library is, to register in a session")
@click.pass_context
def command(context: click.Context, only_path: bool) -> None:  # noqa: FBT001 - click gives it by name
    """Show the native operators.

    The operators of the domain `dtc`, and where their native library is.
    """
    if context.invoked_subcommand is not None:
        return
    from dtc.cli.render import table, tell
    from dtc.deploy.ops import operators
    from dtc.deploy.ops.library import library_path

    path = library_path()
    if only_path:
        if path is None:
            raise LibraryError(
                "there is no native library here; models run on the functions in their files. To build it, install dtc "
                "where a C++ compiler is, or: cmake -S deploy/native -B build/native && cmake --build build/native"
            )
        click.echo(path)
        return
    table(["operator", "computes"], [[name, operators()[name].doc] for name in sorted(operators())])
    tell(f"native library: {path or 'none; models run on the functions in their files'}")


@command.command("targets")
def show_targets() -> None:
    """Show what files can be written for, as `dtc compress --lower NAME` takes it."""
    from dtc.cli.render import table
    from dtc.passes.lower.target import targets

    table(["target", "what"], [[name, target.title] for name, target in sorted(targets().items())])


@command.command("measure-costs")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="file to write, for --costs")
@click.option("--seconds", type=click.FloatRange(min=0), default=0.5, show_default=True, help="for each form and size")
@click.option("--force", is_flag=True, help="overwrite the file")
def measure(output: Path, seconds: float, force: bool) -> None:  # noqa: FBT001 - click gives it by name
    """Measure on this machine where computing on compressed weights pays, for `dtc compress --costs FILE`."""
    from dtc.cli.render import tell
    from dtc.cost_measurement import measure_costs
    from dtc.errors import UsageError

    if output.exists() and not force:
        raise UsageError(f"{output}: exists already; choose another --output or add --force")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output.parent}: no such folder for the output")
    costs = measure_costs(seconds=seconds, tell=lambda what: tell(f"measuring {what}"))
    output.write_text(costs.model_dump_json(indent=2) + "\n", encoding="utf-8")
    tell(f"written: {output}")
