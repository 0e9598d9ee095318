"""Finding a form by its kind; a new form is one new module of this folder, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

import dtc.forms
from dtc.forms.base import Form, Parts
from dtc.registry import collect, own_classes


@cache
def forms() -> dict[str, type[Form]]:
    """Return every form by kind; a kind taken twice is loud."""
    return collect(dtc.forms, _offered, "forms")


def _offered(module: ModuleType) -> Iterator[tuple[str, type[Form]]]:
    item: Any
    for item in own_classes(module, object):
        if {"kind", "unpack"} <= vars(item).keys():  # the protocol itself has no kind
            yield item.kind, item


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
