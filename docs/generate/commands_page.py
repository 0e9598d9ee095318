"""The page of commands: what each does, in a line."""

from __future__ import annotations

from collections.abc import Iterator

import click
from tables import page, table

from dtc.cli.app import app

INTRODUCTION = """\
`dtc COMMAND --help` shows the options of a command; those that print results can print JSON (`--json`). A mistake of
the user ends in a line that says what to do, and exit status 2; exit status 1 means that a check found too large a
loss. An output appears whole or not at all, and nothing is overwritten without `--force`, which replaces regular files
only. Weights of more than 2 GB lie beside the output, in `OUTPUT.dtc-<hash>.data`. A process that is told to end by
Ctrl-C, SIGTERM or SIGHUP takes its temporary folders along; those of one that was killed go with the next command.

Neither a recipe file nor a run directory can make dtc run code or write elsewhere: Python functions that they name as
data need `--allow-code`, and an output outside of the folder in which a run lies has to be said again (`-o`)."""


def commands_page() -> str:
    """Return the page."""
    rows = [[f"`{usage}`", help_] for usage, help_ in _commands(app, "dtc")]
    return page("Commands", [INTRODUCTION, table(["command", "what it does"], rows)])


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, str]]:
    """Yield the usage of each command of a group, and the first sentence of its help."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
            continue
        arguments = command.collect_usage_pieces(context)[1:]  # behind [OPTIONS]
        yield " ".join([path, name, *arguments]), command.get_short_help_str(limit=200)
