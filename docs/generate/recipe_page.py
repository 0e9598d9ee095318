"""The page of recipes: every field of a recipe file."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from tables import docstring, field_row, page, table

from dtc.recipe import Recipe

INTRODUCTION = """\
A recipe says in a file what a command line says in options, and gives each site the method that its rules name: of
several rules, the first that matches a site has it.

```yaml
# file: recipe.yaml
format: 1
rules:
- method: svd
  options: {rank: 8}
  include: [fc1*, fc2*]
- method: uniform
  options: {bits: 8}
lower: standard
```

```sh
dtc compress model.onnx --recipe recipe.yaml
dtc compress model.onnx -o one.onnx --method svd --rank 8 --save-recipe written.yaml
```

`--save-recipe` writes the recipe of a command line, defaults included. A mistake in a file is told with its line and
column. Options of the command line stand above the file's, but for those of the rules."""


def recipe_page() -> str:
    """Return the page."""
    return page("Recipes", [INTRODUCTION, "## The recipe", *_sections(Recipe)])


def _sections(part: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield a table of the plain fields of a part, then its own parts."""
    rows, inner = [], []
    for name, field in part.model_fields.items():
        kind = _part(field.annotation)
        if kind is not None:
            inner.append((f"{path}{name}", kind))
        elif field.description:
            rows.append(field_row(f"{path}{name}", field))
    if rows:
        yield table(["field", "values", "default", "what it does"], rows)
    for label, kind in inner:
        yield f"### {label}"
        yield docstring(kind)
        yield from _sections(kind, f"{label}.")


def _part(annotation: Any) -> type[BaseModel] | None:
    """Return the part that a field is, or is a list of."""
    for each in (annotation, *typing.get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None
