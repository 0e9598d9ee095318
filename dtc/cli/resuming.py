"""What a command takes beside `--resume`: a run goes on as it was begun, so that most options would mean nothing."""

from __future__ import annotations

from collections.abc import Collection

import click
from click.core import ParameterSource

from dtc.errors import UsageError


def refuse_what_a_run_has(heeded: Collection[str]) -> None:
    """Refuse what was typed beside `--resume` and would be ignored; `heeded` are the parameters that are not.

    Raises:
        UsageError: Something else was typed; the message names it.
    """
    context = click.get_current_context()
    typed = [
        parameter
        for parameter in context.command.get_params(context)
        if context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    ]
    # --steps, and not -s; MODEL of an argument.
    strange = [
        max(each.opts, key=len) if isinstance(each, click.Option) else each.human_readable_name
        for each in typed
        if each.name not in {*heeded, "resumed"}
    ]
    if strange:
        raise UsageError(f"--resume goes on with a run as it was begun: leave out {', '.join(strange)}")
