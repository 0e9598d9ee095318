"""Options of the methods on the command line of `dtc compress`, made from what each method declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from dtc.cli.declared import declared
from dtc.cli.sections import Option, Section
from dtc.errors import UsageError
from dtc.passes.method import find_method, methods, options_of
from dtc.passes.options import flag, tried


def method_options() -> Iterator[Option]:
    """Yield the options of every method, one for all methods that share it; the help shows them method by method."""
    for name, (field, _) in sorted(_fields().items()):
        yield declared(flag(name), name, field, Section.METHOD, hidden=True)


def described_options(method: str) -> list[Option]:
    """Return the options of one method as its help shows them: those that have to be given first, then other rates.

    Raises:
        UsageError: There is no such method.
    """
    kind = find_method(method).options_type
    fields = kind.model_fields

    # False sorts before True: what has to be given, then what has values worth trying, then the rest; `sorted` keeps
    # names in order within each.
    def rank(name: str) -> tuple[bool, bool]:
        return not (fields[name].is_required() or name in kind.one_of), not tried(fields[name])

    return [_described(name, fields[name], kind.one_of) for name in sorted(fields, key=rank)]


def _described(name: str, field: FieldInfo, one_of: tuple[str, ...]) -> Option:
    notes = (f"required: one of {', '.join(map(flag, one_of))}",) if name in one_of else ()
    if values := tried(field):
        notes = (*notes, f"worth trying: {', '.join(map(str, values))}")
    return declared(flag(name), name, field, Section.METHOD, notes=notes)


def given_options(method: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, for `method`.

    Raises:
        UsageError: There is no such method, or an option was given that it does not have.
    """
    known = options_of(method)
    # All methods' options are options of the command, so click accepts any of them; whether they fit is told here.
    given = {name: values[name] for name in _fields() if values[name] is not None}
    for name in given.keys() - known.keys():
        owners = ", ".join(_fields()[name][1])
        raise UsageError(f"{flag(name)} is no option of method {method}; it belongs to {owners}")
    return given


def given_rule_options(values: dict[str, Any]) -> list[str]:
    """Return the flags of methods' options that were given."""
    return [flag(name) for name in _fields() if values[name] is not None]


def _fields() -> dict[str, tuple[FieldInfo, list[str]]]:
    """Return the options of all methods with the names of the methods that have them."""
    found: dict[str, tuple[FieldInfo, list[str]]] = {}
    for method_name, method in methods().items():
        # The first method that has an option declares it for all, and the names are collected: "sparsity" -> (field,
        # ["prune", "prune-masked"]).
        for name, field in method.options_type.model_fields.items():
            found.setdefault(name, (field, []))[1].append(method_name)
    return found
