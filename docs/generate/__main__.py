"""Writes the pages of docs/ that say what the code says: `python docs/generate`.

A page a method, of its docstrings and declared options; one of compositions; one of the commands; one of
the fields of a recipe; one of the operators; one of published experiments and one of what was compared, with their
pictures; one of what searches found; one of bundles that were measured. A test holds the pages against what this
writes.
"""

from __future__ import annotations

from pathlib import Path

import click
from bundles_page import bundles_page
from commands_page import commands_page
from comparison_page import comparison_pages
from method_pages import compositions_page, method_page
from operators_page import operators_page
from papers_page import papers_pages
from recipe_page import recipe_page
from searched_page import searched_page

from dtc.passes.method import methods

DOCS = Path(__file__).resolve().parents[1]


def pages() -> dict[str, str]:
    """Return every generated page, by its path below the folder; of methods, those of this repository."""
    own = {name: method for name, method in sorted(methods().items()) if method.__module__.startswith("dtc.passes.")}
    written = {f"methods/{name}.md": method_page(method) for name, method in own.items()}
    written["methods/compositions.md"] = compositions_page(list(own))
    written["commands.md"] = commands_page()
    written["recipe.md"] = recipe_page()
    written["operators.md"] = operators_page()
    written["bundles.md"] = bundles_page(DOCS / "results" / "bundles" / "measured.json")
    written["searched.md"] = searched_page(DOCS / "results" / "compared")
    return written | papers_pages(DOCS / "results") | comparison_pages(DOCS / "results" / "compared")


@click.command()
@click.option("--into", type=click.Path(path_type=Path), default=DOCS, help="folder to write to; default: docs/")
def main(into: Path) -> None:
    """Write all pages."""
    for name, text in pages().items():
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
