"""The `dtc` command: finds the commands in their folder, and shows mistakes without a traceback."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import pkgutil
import sys
from pathlib import Path

import click

import dtc.cli.commands
from dtc.cli.termination import Termination
from dtc.cli.torchrun import is_spare_copy, told_by_torchrun
from dtc.errors import DtcError, Interrupted
from dtc.formatting import printable
from dtc.late_imports import LateImports


class _Commands(click.Group):
    """Every module of `dtc.cli.commands` that has a `command` is one; a module is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(info.name for info in pkgutil.iter_modules(dtc.cli.commands.__path__))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was asked for; of one that there is not, name the most similar."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            if not close:
                raise
            raise click.UsageError(f"{error.message} Did you mean {close[0]}?", ctx) from error

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
    if is_spare_copy():
        return
    LateImports().install()
    termination = Termination()
    termination.install()
    try:
        # click itself would print a usage text of several lines before each error; here every mistake is one line.
        app.main(standalone_mode=False, prog_name="dtc", **told_by_torchrun())
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    # 130 is 128 + SIGINT, what a shell gives for Ctrl-C.
    except click.Abort:
        sys.exit(termination.status)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _say(f"dtc: error: {_with_help(error)}")
        sys.exit(error.exit_code)
    except Interrupted as stop:
        _say(_how_to_go_on(stop))
        sys.exit(termination.status)
    except OSError as error:  # of the standard output, or of a file that goes while it is read
        _say(f"dtc: error: {_of_system(error)}")
        sys.exit(2)
    # Last, because Interrupted is a DtcError, too. Any other exception is a mistake in the program: its traceback is
    # shown.
    except DtcError as error:
        _say(f"dtc: error: {printable(str(error))}")
        sys.exit(error.exit_status)


def _say(line: str) -> None:
    """Print a line to standard error; where that is full or closed the exit status alone tells."""
    with contextlib.suppress(OSError):
        click.echo(line, err=True)


def _of_system(error: OSError) -> str:
    """Return what the system refused: a file by its name, else the working directory or the standard output."""
    reason = error.strerror or str(error)
    if error.filename:
        return printable(f"{error.filename}: {reason}")
    try:
        Path.cwd()
    except OSError:
        return "the working directory is gone; change to another"
    return f"standard output, or a file without a name: {reason}"


def _with_help(error: click.ClickException) -> str:
    """Return the message of a mistake on the command line, and where help is."""
    message = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    return message if context is None else f"{message.rstrip('.')}; see {context.command_path} --help"


def _how_to_go_on(stop: Interrupted) -> str:
    from dtc.job import is_compression, words_to_resume

    if not stop.run.is_dir():
        return "interrupted; nothing is kept: name a run directory (--run) to be able to go on"
    if not is_compression(stop.run):
        return f"interrupted; nothing is lost: dtc models train --resume {stop.run}"
    return f"interrupted; nothing is lost: dtc compress {words_to_resume(stop.run)}"
