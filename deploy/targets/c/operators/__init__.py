"""The operators of ONNX that target `c` has: a module for each kind, whose `COMPILERS` say how a node becomes calls."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import ModuleType

import dtc.deploy.targets.c.operators
from dtc.deploy.targets.c.compiling import Compiler
from dtc.registry import collect


@cache
def compilers() -> dict[str, Compiler]:
    """Return what compiles the nodes of each operator, by name; a name taken twice is loud."""
    return collect(dtc.deploy.targets.c.operators, _offered, "operators of target 'c'")


def _offered(module: ModuleType) -> Iterator[tuple[str, Compiler]]:
    yield from module.COMPILERS.items()
