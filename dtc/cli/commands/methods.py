"""`dtc methods`: the methods, and the help page of one."""

from __future__ import annotations

import click


@click.command("methods")
@click.argument("name", required=False)
@click.pass_context
def command(context: click.Context, name: str | None) -> None:
    """Show the methods, or the help page of one.

    With NAME: what that method does, its options, what it gives, what it goes with, its paper and an example.
    """
    if name is None:
        _show_all()
        return
    from dtc.cli.method_help import write_method

    formatter = context.make_formatter()
    write_method(context, formatter, name)
    click.echo(formatter.getvalue().strip())


def _show_all() -> None:
    from dtc.cli.method_help import MORE
    from dtc.cli.render import table, tell
    from dtc.passes.method import methods

    rows = [[name, kind.title, kind.gives.kind, kind.paper] for name, kind in sorted(methods().items())]
    table(["method", "what it does", "gives", "paper"], rows)
    tell(MORE)
