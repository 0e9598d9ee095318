"""The pages of methods and of their compositions."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tables import docstring, field_row, named, page, table

from dtc.errors import DtcError
from dtc.passes.compose import make_methods
from dtc.passes.method import Method, Skip, Weights, make_method, options_of

EXAMPLES: dict[str, dict[str, Any]] = {
    "svd": {"rank": 8},
    "prune": {"sparsity": 0.9},
    "prune-masked": {"sparsity": 0.9},
    "binary": {"bits": 2},
    "uniform": {"bits": 4},
    "codebook": {"codewords": 16, "block": 1},
    "bins": {"bins": 8},
}
"""Options of the command that the page of a method shows; a new method adds its own."""

NEEDS = {
    "gradient": "the magnitude of the loss's gradient (`--data`), where there is some",
    "gram": "second moments of each layer's inputs (`--data`)",
    "probe": "the model itself, run with some weights replaced",
    "previous": "its own last result, to start from",
}


def method_page(name: str, method: type[Method]) -> str:
    """Return the page of a method."""
    form = _form(name)
    parts = [
        docstring(method),
        docstring(inspect.getmodule(method)),
        "## Example",
        _commands([name]),
        f"The written form is [`{form}`](../formats.md#{form}).",
        "## Options",
        table(
            ["option", "values", "default", "what it does"],
            [field_row(_flag(each), field) for each, field in method.options_type.model_fields.items()],
        ),
        *_what_it_uses(method),
        "## Goes with",
        _partners(name),
    ]
    return page(f"{name}: {method.title}", parts)


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
        options = [EXAMPLES[part] for part in name.split("+")]
        words = [f"{_flag(key)} {value}" for given in options for key, value in given.items()]
        lines.append(f"dtc compress model.onnx --method {name} {' '.join(words)}\n")
    return f"```sh\n{''.join(lines)}```"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _form(name: str) -> str:
    """Return the kind of form that a method gives."""
    matrices = np.random.default_rng(0).normal(size=(1, 48, 40)).astype(np.float32)
    outcome = make_method(name, EXAMPLES[name]).distort([Weights("w", "MatMul", matrices, "node")])["w"]
    assert not isinstance(outcome, Skip)
    return outcome[0].kind


def _what_it_uses(method: type[Method]) -> Iterator[str]:
    """Yield what a run gives to the method beside the weights."""
    needs = [words for need, words in NEEDS.items() if need in method.needs]
    if "compensate" in method.options_type.model_fields:
        needs.append(f"with `--compensate`, {NEEDS['gram']}")
    if method.keeps_mask:
        yield "Weights that a distortion made zero stay zero until the next one, in training too."
    if needs:
        yield "## What it uses"
        yield "Beside the weights:"
        yield "\n".join(f"* {need}" for need in needs)


def _partners(name: str) -> str:
    pairs = dict.fromkeys(pair for other in EXAMPLES for pair in ((name, other), (other, name)))
    possible = ["+".join(pair) for pair in pairs if _refusal(*pair) is None]
    return f"{named(possible)}; see [compositions](compositions.md)."


def _refusal(first: str, second: str) -> str | None:
    """Return why two methods cannot be composed; None where they can."""
    name = f"{first}+{second}"
    options = {
        key: value for part in (first, second) for key, value in EXAMPLES[part].items() if key in options_of(name)
    }
    try:
        make_methods(name, options)
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
