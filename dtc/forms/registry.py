"""Finding a form by its kind; one module of this folder is all that a new form takes."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import numpy as np

import dtc.forms
from dtc.forms.base import Form, Parts


@cache
def forms() -> dict[str, type[Form]]:
    """Return every form by kind; a kind taken twice is loud."""
    found: dict[str, type[Form]] = {}
    for info in pkgutil.iter_modules(dtc.forms.__path__):
        module = importlib.import_module(f"dtc.forms.{info.name}")
        for item in vars(module).values():
            if not isinstance(item, type) or item.__module__ != module.__name__:
                continue
            if not {"kind", "unpack"} <= vars(item).keys():  # the protocol itself has no kind
                continue
            kind: str = vars(item)["kind"]
            if kind in found:
                raise RuntimeError(f"two forms are called {kind!r}: {found[kind]} and {item}")
            found[kind] = item
    return found


def pack_form(form: Form) -> Parts:
    """Return the parts of a form of any kind, and the kind itself as UTF-8 bytes."""
    return form.pack() | {"kind": np.frombuffer(form.kind.encode(), dtype=np.uint8)}


def unpack_form(parts: Parts) -> Form:
    """Return the form that `pack_form` stored.

    Raises:
        ValueError: No form is of that kind, or the parts do not fit together.
    """
    if "kind" not in parts:
        raise ValueError("the parts do not say what kind of form they are")
    kind = bytes(parts["kind"].astype(np.uint8)).decode()
    if kind not in forms():
        raise ValueError(f"no form is called {kind!r}")
    return forms()[kind].unpack({key: array for key, array in parts.items() if key != "kind"})
