"""The help on methods: the table of all methods and the page of one, made from the declarations of each method."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import click

from dtc.cli.method_options import described_options
from dtc.passes.compose import compositions
from dtc.passes.method import Method, find_method, methods
from dtc.passes.options import flag

MORE = "dtc methods NAME shows the options of a method, and so does dtc compress --method NAME --help."


def method_titles() -> list[tuple[str, str]]:
    """Return the name of each method and what it is, sorted."""
    return [(name, method.title) for name, method in sorted(methods().items())]


def write_method(context: click.Context, formatter: click.HelpFormatter, name: str) -> None:
    """Write the page of a method.

    Raises:
        UsageError: There is no such method.
    """
    method = find_method(name)
    formatter.write_text(f"{name}: {method.title}")
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(inspect.cleandoc(method.__doc__ or ""))
    write_options(context, formatter, name)
    with formatter.section("Facts"):
        formatter.write_dl(list(_facts(method)))


def write_options(context: click.Context, formatter: click.HelpFormatter, name: str) -> None:
    """Write the options of a method, or of both methods of a composition.

    Raises:
        UsageError: There is no such method.
    """
    # "prune+binary" has the options of "prune", then those of "binary".
    for part in name.split("+"):
        records = [option.get_help_record(context) for option in described_options(part)]
        with formatter.section(f"Options of method {part}"):
            formatter.write_dl([record for record in records if record is not None])


def _facts(method: type[Method]) -> Iterator[tuple[str, str]]:
    yield "gives", f"the form {method.gives.kind}"
    if method.compensates is not None:
        yield "--compensate", method.compensates
    yield "goes with", ", ".join(f"{a}+{b}" for a, b in compositions() if method.name in (a, b)) or "no other method"
    yield "paper", method.paper
    yield "example", f"dtc compress model.onnx --method {method.name} {' '.join(_words(method.example))}"


def _words(options: Any) -> Iterator[str]:
    """Yield options as they are written on the command line."""
    for name, value in options.items():
        if isinstance(value, bool):
            yield flag(name) if value else flag(f"no_{name}")
        else:
            yield f"{flag(name)} {value}"
