"""`dtc engine`: the training engine."""

from __future__ import annotations

import click

from dtc.training.engines.ort import install as ort


@click.group("engine")
def command() -> None:
    """Install or list the engines that retraining runs on."""


@command.command("install")
@click.argument("name", type=click.Choice(["ort"]))
def install(name: str) -> None:  # noqa: ARG001  # there is one engine so far, its name is still asked for
    """Put a private copy of the engine into the user's cache; nothing else on the machine changes."""
    from dtc.cli.render import console

    console.print(f"ort: installed in {ort.install()}")


@command.command("list")
def list_engines() -> None:
    """Show the engines, and whether they are installed."""
    from dtc.cli.render import table

    where = ort.installed()
    state = f"installed in {where}" if where else (ort.available() or "not installed; dtc engine install ort")
    table(["engine", "what", "state"], [["ort", "onnxruntime-training 1.19.2, CPU", state]])
