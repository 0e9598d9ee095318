"""Commands with many options: help in named sections, and options that are made when they are needed."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Section(enum.StrEnum):
    """The sections of a command's help, in their order there."""

    MODEL = "Model and output"
    GOAL = "Goal"
    METHOD = "Method"
    DATA = "Data"
    OBJECTIVE = "Objective"
    TRAINING = "Retraining"
    OPTIMIZER = "Optimizer and learning rate"
    ACTIVATIONS = "Activations"
    LEAN = "Size of the rest"
    LOWERING = "Lowering and seed"
    CHECKING = "Checking"
    OTHER = "Other options"


class Option(click.Option):
    """An option that stands in a section of the help."""

    def __init__(self, *arguments: Any, section: Section = Section.OTHER, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.section = section


def option(section: Section, *declarations: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """Add an option to a click command, in a section of its help; the rest is as for `click.option`."""
    return click.option(*declarations, cls=Option, section=section, **attributes)


class SectionedCommand(click.Command):
    """A command whose help has sections, and whose `further` options are made when it is used.

    Making options of what methods and recipes declare takes importing them; for a list of commands nobody has to.
    """

    def __init__(
        self, *arguments: Any, further: Callable[[], Iterable[click.Option]] = tuple, **attributes: Any
    ) -> None:
        super().__init__(*arguments, **attributes)
        self._further: Callable[[], Iterable[click.Option]] | None = further

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return all parameters.

        Raises:
            RuntimeError: Two options have the same flag; the message names it.
        """
        # Once for each command: click asks for the parameters again for usage, help and completion.
        if self._further is not None:
            self.params.extend(self._further())
            self._further = None
            _refuse_doubles(self)
        return super().get_params(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        # Every section in the order of the enumeration, empty ones left out below. Hidden options have no record.
        sections: dict[Section, list[tuple[str, str]]] = {section: [] for section in Section}
        for option in (each for each in self.get_params(ctx) if isinstance(each, click.Option)):
            record = option.get_help_record(ctx)
            if record is not None:
                sections[option.section if isinstance(option, Option) else Section.OTHER].append(record)
        for section, records in sections.items():
            if records:
                with formatter.section(section):
                    formatter.write_dl(records)


def _refuse_doubles(command: click.Command) -> None:
    flags: set[str] = set()
    for parameter in command.params:
        for flag in (*parameter.opts, *parameter.secondary_opts):
            if flag in flags:
                raise RuntimeError(f"two options of dtc {command.name} are called {flag}: choose another name for one")
            flags.add(flag)
