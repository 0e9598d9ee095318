"""dtc compresses an ONNX model into an ONNX model.

What the command line does, as functions: `compress`, `resume`, `search`, `inspect_model`, `check`, `bench`, and
`session`, an ONNX Runtime session of a compressed model; `custom_ops` names libraries of operators that models need.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtc.checking import CheckOptions, bench, check
    from dtc.custom_ops import custom_ops
    from dtc.inspection import inspect_model
    from dtc.job import Job
    from dtc.pipeline import Compression, compress, resume
    from dtc.recipe import Data, Objective, Recipe, Rule, Training
    from dtc.search import Goal, Request, search
    from dtc.session import session

__all__ = [
    "CheckOptions",
    "Compression",
    "Data",
    "Goal",
    "Job",
    "Objective",
    "Recipe",
    "Request",
    "Rule",
    "Training",
    "bench",
    "check",
    "compress",
    "custom_ops",
    "inspect_model",
    "resume",
    "search",
    "session",
]

# ONNX Runtime reads it when it is loaded, in this process and in those that it starts.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_HOMES = {
    "CheckOptions": "dtc.checking",
    "Compression": "dtc.pipeline",
    "Data": "dtc.recipe",
    "Goal": "dtc.search",
    "Job": "dtc.job",
    "Objective": "dtc.recipe",
    "Recipe": "dtc.recipe",
    "Request": "dtc.search",
    "Rule": "dtc.recipe",
    "Training": "dtc.recipe",
    "bench": "dtc.checking",
    "check": "dtc.checking",
    "compress": "dtc.pipeline",
    "custom_ops": "dtc.custom_ops",
    "inspect_model": "dtc.inspection",
    "resume": "dtc.pipeline",
    "search": "dtc.search",
    "session": "dtc.session",
}
"""Where each public name is written: its module is imported when the name is first used, so that `import dtc`, and with
it the command line, does not wait for ONNX Runtime."""


def __getattr__(name: str) -> Any:
    """Return a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


class _Package(ModuleType):
    """This package, in which `dtc.session` and `dtc.search` are functions although modules of these names lie here.

    Importing a module sets it as an attribute of its package, and would hide the function of the same name.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
