"""Options that several commands have, in the same words."""

from __future__ import annotations

from pathlib import Path

import click

from dtc.cli.sections import Section, option

include = option(
    Section.METHOD, "--include", multiple=True, help="glob over site, node, op or role names (repeatable; default all)"
)

exclude = option(Section.METHOD, "--exclude", multiple=True, help="glob of sites to leave alone (repeatable)")

fixed_inputs = option(
    Section.CHECKING,
    "--input",
    "inputs",
    multiple=True,
    help="NAME=VALUE: an input that is held fixed; a number, a string or a JSON list (repeatable)",
)

seconds = option(
    Section.CHECKING,
    "--seconds",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="for latency; 0: not measured",
)

portable = option(
    Section.CHECKING, "--portable", is_flag=True, help="without the native kernels: on the functions in the files"
)

custom_ops = option(
    Section.CHECKING,
    "--custom-ops",
    multiple=True,
    type=click.Path(path_type=Path),
    help="library of custom operators that the models need to run (repeatable)",
)

json_for_tables = option(Section.OTHER, "--json", "as_json", is_flag=True, help="print JSON instead of tables")
