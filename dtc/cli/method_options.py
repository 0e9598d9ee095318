"""Command-line options of the methods, made from what each method declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic.fields import FieldInfo

from dtc.cli.declared import option
from dtc.errors import UsageError
from dtc.passes.method import methods, options_of

SHARED = "max_drop"
"""An option of `dtc compress` itself, which methods that stop at a drop read as well."""

Command = TypeVar("Command", bound=Callable[..., Any])


def method_options(command: Command) -> Command:
    """Add the options of every method to a click command; methods may share one of the same name."""
    for name, (field, owners) in sorted(_fields().items(), reverse=True):
        if name == SHARED:
            continue
        command = option("--" + name.replace("_", "-"), name, field, note=f"[{', '.join(owners)}]")(command)
    return command


def given_options(method: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, for `method`.

    Raises:
        UsageError: There is no such method, or an option was given that it does not have.
    """
    known = options_of(method)
    given = {name: values[name] for name in _fields() if values.get(name) is not None}
    for name in given.keys() - known.keys() - {SHARED}:
        owners = ", ".join(_fields()[name][1])
        raise UsageError(f"--{name.replace('_', '-')} is no option of method {method}; it belongs to {owners}")
    return {name: value for name, value in given.items() if name in known}


def given_rule_options(values: dict[str, Any]) -> list[str]:
    """Return the flags of methods' options that were given."""
    names = (name for name in _fields() if name != SHARED)
    return [f"--{name.replace('_', '-')}" for name in names if values.get(name) is not None]


def _fields() -> dict[str, tuple[FieldInfo, list[str]]]:
    found: dict[str, tuple[FieldInfo, list[str]]] = {}
    for method_name, method in methods().items():
        for name, field in method.options_type.model_fields.items():
            found.setdefault(name, (field, []))[1].append(method_name)
    return found
