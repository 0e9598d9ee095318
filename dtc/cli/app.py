"""The `dtc` command: finds the commands in this folder, and shows mistakes without a traceback."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import click

import dtc.cli
from dtc.errors import DtcError, Interrupted
from dtc.job import is_compression


class _Commands(click.Group):
    """Every module of `dtc.cli` that has a `command` is one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(info.name for info in pkgutil.iter_modules(dtc.cli.__path__) if self._find(info.name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._find(cmd_name)

    @staticmethod
    def _find(name: str) -> click.Command | None:
        if name not in {info.name for info in pkgutil.iter_modules(dtc.cli.__path__)}:
            return None
        command = getattr(importlib.import_module(f"dtc.cli.{name}"), "command", None)
        return command if isinstance(command, click.Command) else None


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dtc", prog_name="dtc")
def app() -> None:
    """Compress an ONNX model into an ONNX model.

    The main job: dtc compress model.onnx --method svd --rank 96
    """


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit status 2."""
    try:
        app.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Interrupted as stop:
        click.echo(_how_to_go_on(stop), err=True)
        sys.exit(130)
    except DtcError as error:
        click.echo(f"dtc: error: {error}", err=True)
        sys.exit(error.exit_status)


def _how_to_go_on(stop: Interrupted) -> str:
    if not stop.run.is_dir():
        return "interrupted; nothing is kept: name a run directory (--run) to be able to go on"
    command = "compress" if is_compression(stop.run) else "models train"
    return f"interrupted; nothing is lost: dtc {command} --resume {stop.run}"
