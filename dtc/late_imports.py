"""Modules that are loaded when something in them is first used, so that a command or a worker starts sooner."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import LazyLoader
from types import ModuleType

# onnx-ir computes with symbolic sizes by sympy: 430 modules, a sixth of the time in which a small model is compressed.
RARELY_USED = frozenset({"sympy", "onnx_ir._symbolic_shapes"})

# The training build of ONNX Runtime looks for its PyTorch front end when it is imported, and so imports PyTorch where
# that is installed: more than half of the time of a short training. Nothing here uses that front end.
UNWANTED = {"onnxruntime": "onnxruntime.training"}
"""What a package would import for nothing, by the package."""


class Alone(SourceFileLoader):
    """Loads a package as if its unwanted part were not installed; that part can be imported afterwards."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the package's own code."""
        unwanted = UNWANTED[module.__name__]
        # None is how Python says that there is no such module.
        sys.modules[unwanted] = None  # type: ignore[assignment]
        try:
            super().exec_module(module)
        finally:
            del sys.modules[unwanted]


class LateImports(MetaPathFinder):
    """Finds modules as Python does, leaves loading some of them to their first use, and loads some alone.

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
        """Return where one of the names lies, to be loaded late or alone; None for any other name."""
        if fullname not in self._names and fullname not in UNWANTED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        if fullname in self._names:
            spec.loader = LazyLoader(spec.loader)
        elif isinstance(spec.loader, SourceFileLoader):
            spec.loader = Alone(spec.loader.name, spec.loader.path)
        return spec
