"""Modules that are loaded when something in them is first used, so that a command or a worker starts sooner."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

# onnx-ir computes with symbolic sizes by sympy: 430 modules, a sixth of the time in which a small model is compressed.
RARELY_USED = frozenset({"sympy", "onnx_ir._symbolic_shapes"})


class LateImports(MetaPathFinder):
    """Finds modules as Python does, and leaves loading some of them to their first use.

    Args:
        names: Full names of those modules.
    """

    def __init__(self, names: frozenset[str] = RARELY_USED) -> None:
        self._names = names

    def install(self) -> None:
        """Ask such a finder first in this process; what is imported already stays as it is."""
        if not any(isinstance(finder, LateImports) for finder in sys.meta_path):
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where one of the names lies, to be loaded late; None for any other name."""
        if fullname not in self._names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec
