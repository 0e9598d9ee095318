"""A click command with the options of all methods, whose help shows the options of one method."""

from __future__ import annotations

from typing import Any

import click

from dtc.cli.sections import SectionedCommand

_WORDS = "dtc.words"


class MethodCommand(SectionedCommand):
    """A command with an option `--method`: its help shows the options of that method, or else names all methods."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words, and remember them for `--help`, which click answers before `--method` is parsed."""
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's options, and those of the method that `--method` names or else a list of methods."""
        from dtc.cli.method_help import MORE, method_titles, write_options

        told = self._told(ctx)
        if told is not None:
            write_options(ctx, formatter, told)
        super().format_options(ctx, formatter)
        if told is None:
            with formatter.section("Methods"):
                formatter.write_dl(method_titles())
            formatter.write_paragraph()
            formatter.write_text(MORE)

    def _told(self, ctx: click.Context) -> str | None:
        words: list[str] = ctx.meta.get(_WORDS, [])
        # A parser of its own over the remembered words: it reads values only, and calls neither callbacks nor --help.
        values: dict[str, Any] = self.make_parser(ctx).parse_args(args=list(words))[0]
        method: str | None = values.get("method")
        return None if method == "auto" else method
