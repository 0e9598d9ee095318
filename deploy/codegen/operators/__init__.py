"""The operators of ONNX that there are kernels for: a module each kind, whose `COMPILERS` make calls of a node."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import ModuleType

import dtc.deploy.codegen.operators
from dtc.deploy.codegen.compiling import Compiler
from dtc.registry import collect


@cache
def compilers() -> dict[str, Compiler]:
    """Return what compiles the nodes of each operator, by name; a name taken twice is loud."""
    return collect(dtc.deploy.codegen.operators, _offered, "operators of generated programs")


def _offered(module: ModuleType) -> Iterator[tuple[str, Compiler]]:
    yield from module.COMPILERS.items()
