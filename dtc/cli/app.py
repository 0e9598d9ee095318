"""The `dtc` command: finds the commands in their folder, and shows mistakes without a traceback."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import click

import dtc.cli.commands
from dtc.errors import DtcError, Interrupted


class _Commands(click.Group):
    """Every module of `dtc.cli.commands` that has a `command` is one; a module is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(info.name for info in pkgutil.iter_modules(dtc.cli.commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        # The command that was asked for, and no other: `dtc inspect` does not import what `dtc compress` needs.
        command = importlib.import_module(f"dtc.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dtc", prog_name="dtc")
def app() -> None:
    """Compress an ONNX model into an ONNX model.

    The main job: dtc compress model.onnx --method svd --rank 96
    """


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit status 2."""
    try:
        # click itself would print a usage text of several lines before each error; here every mistake is one line.
        app.main(standalone_mode=False, prog_name="dtc")
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    # 130 is 128 + SIGINT, what a shell gives for Ctrl-C.
    except click.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"dtc: error: {_with_help(error)}", err=True)
        sys.exit(error.exit_code)
    except Interrupted as stop:
        click.echo(_how_to_go_on(stop), err=True)
        sys.exit(130)
    # Last, because Interrupted is a DtcError, too. Any other exception is a mistake in the program: its traceback is
    # shown.
    except DtcError as error:
        click.echo(f"dtc: error: {error}", err=True)
        sys.exit(error.exit_status)


def _with_help(error: click.ClickException) -> str:
    """Return the message of a mistake on the command line, and where help is."""
    message = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    return message if context is None else f"{message.rstrip('.')}; see {context.command_path} --help"


def _how_to_go_on(stop: Interrupted) -> str:
    from dtc.job import is_compression

    if not stop.run.is_dir():
        return "interrupted; nothing is kept: name a run directory (--run) to be able to go on"
    command = "compress" if is_compression(stop.run) else "models train"
    return f"interrupted; nothing is lost: dtc {command} --resume {stop.run}"
