"""`dtc engine`: the training engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dtc.training.engine_kind import EngineKind


@click.group("engine")
def command() -> None:
    """Install or list the engines that retraining runs on."""


@command.command("install")
@click.argument("name")
def install(name: str) -> None:
    """Make an engine ready to run; a private copy goes into the user's cache, nothing else on the machine changes."""
    from dtc.cli.render import tell
    from dtc.training.engine_kind import find_engine

    kind = find_engine(name)
    if damage := kind.remove_damaged():
        tell(damage)
    kind.install()
    tell(f"{name}: installed in {kind.installed()}")


@command.command("list")
def list_engines() -> None:
    """Show the engines, whether they are installed, and which one is the default."""
    from dtc.cli.render import table
    from dtc.training.engine_kind import engines

    table(["engine", "what", "state"], [_row(kind) for _, kind in sorted(engines().items())])


def _row(kind: EngineKind) -> list[str]:
    from dtc.training.engine_kind import default_engine

    where = kind.installed()
    state = f"installed in {where}" if where else kind.unavailable() or f"not installed; dtc engine install {kind.name}"
    return [kind.name, f"{kind.title}, {kind.device}", state + ("; the default" if kind is default_engine() else "")]
