"""`dtc ops`: the native operators."""

from __future__ import annotations

import click

from dtc.errors import LibraryError


@click.command("ops")
@click.option("--path", "only_path", is_flag=True, help="print where the native library is, to register in a session")
def command(only_path: bool) -> None:  # noqa: FBT001 - click gives it by name
    """Show the native operators.

    The operators of the domain `dtc`, and where their native library is.
    """
    from dtc.cli.render import table
    from dtc.deploy.ops import operators
    from dtc.deploy.ops.library import library_path

    path = library_path()
    if only_path:
        if path is None:
            raise LibraryError(
                "there is no native library here; models run on the functions in their files. To build it, install "
                "dtc where a C++ compiler is, or: cmake -S deploy/native -B build/native && cmake --build build/native"
            )
        click.echo(path)
        return
    table(["operator", "computes"], [[name, operators()[name].doc] for name in sorted(operators())])
    click.echo(f"native library: {path or 'none; models run on the functions in their files'}")
