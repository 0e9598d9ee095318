"""The pages of methods and of their compositions."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence

from pydantic.fields import FieldInfo
from tables import docstring, field_row, named, page, table

from dtc.errors import DtcError
from dtc.passes.compose import compositions, make_methods
from dtc.passes.method import Method, methods
from dtc.passes.options import flag, tried

NEEDS = {
    "gradient": "the magnitude of the loss's gradient (`--data`), where there is some",
    "gram": "second moments of each layer's inputs (`--data`)",
    "probe": "the model itself, run with some weights replaced",
    "previous": "its own last result, to start from",
}


def method_page(method: type[Method]) -> str:
    """Return the page of a method."""
    form = method.gives.kind
    parts = [
        docstring(method),
        docstring(inspect.getmodule(method)),
        "## Example",
        _commands([method.name]),
        f"The written form is [`{form}`](../formats.md#{form}).",
        "## Options",
        *_options(method),
        *_what_it_uses(method),
        "## Goes with",
        f"{named(_partners(method))}; see [compositions](compositions.md).",
    ]
    return page(f"{method.name}: {method.title}", parts)


def compositions_page(names: Sequence[str]) -> str:
    """Return the page of compositions: which pairs there are, and why the others are not."""
    refusals = {pair: _refusal(*pair) for pair in itertools.product(names, names)}
    rows = [[f"`{first}`", *("" if refusals[first, second] else "yes" for second in names)] for first in names]
    parts = [
        docstring(inspect.getmodule(make_methods)),
        "Each option goes to the methods that have it.",
        _commands(["svd+binary", "prune+codebook"]),
        "## Pairs",
        "The first method is in the row, the second in the column.",
        table(["", *(f"`{name}`" for name in names)], rows),
        "## What does not go, and why",
        "\n".join(f"* {named(pairs)}: {why}" for why, pairs in _by_reason(refusals).items()),
    ]
    return page("Compositions", parts)


def _commands(names: Sequence[str]) -> str:
    lines = []
    for name in names:
        options = [methods()[part].example for part in name.split("+")]
        words = [f"{flag(key)} {value}" for given in options for key, value in given.items()]
        lines.append(f"dtc compress model.onnx --method {name} {' '.join(words)}\n")
    return f"```sh\n{''.join(lines)}```"


def _options(method: type[Method]) -> Iterator[str]:
    fields = method.options_type.model_fields
    yield table(
        ["option", "values", "default", "what it does"], [_option(name, field) for name, field in fields.items()]
    )
    if method.options_type.one_of:
        yield f"Exactly one of {named(map(flag, method.options_type.one_of))} has to be given."


def _option(name: str, field: FieldInfo) -> list[str]:
    """Return the row of an option, with the values worth trying behind its description."""
    row = field_row(flag(name), field)
    if values := tried(field):
        row[-1] += f"; worth trying: {', '.join(map(str, values))}"
    return row


def _what_it_uses(method: type[Method]) -> Iterator[str]:
    """Yield what a run gives to the method beside the weights."""
    needs = [words for need, words in NEEDS.items() if need in method.needs]
    if method.compensates is not None:
        needs.append(f"unless told `--no-compensate`, {NEEDS['gram']}, where there are some: {method.compensates}")
    if method.keeps_mask:
        yield "Weights that a distortion made zero stay zero until the next one, in training too."
    if needs:
        yield "## What it uses"
        yield "Beside the weights:"
        yield "\n".join(f"* {need}" for need in needs)


def _partners(method: type[Method]) -> list[str]:
    return ["+".join(pair) for pair in compositions() if method.name in pair]


def _refusal(first: str, second: str) -> str | None:
    """Return why two methods cannot be composed; None where they can."""
    options = {**methods()[first].example, **methods()[second].example}
    try:
        make_methods(f"{first}+{second}", options)
    except DtcError as error:
        return str(error).partition(": ")[2]
    return None


def _by_reason(refusals: Mapping[tuple[str, str], str | None]) -> dict[str, list[str]]:
    """Return the compositions that each reason is against."""
    found: dict[str, list[str]] = {}
    for pair, why in refusals.items():
        if why is not None:
            found.setdefault(why, []).append("+".join(pair))
    return found
