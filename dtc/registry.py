"""Finding what is there: a module in a folder is all it takes to add a method, a form, an operator, or an engine.

A distribution of somebody else adds to a folder as well, by an entry point whose group is the folder's import name and
whose value is a module:

    [project.entry-points."dtc.passes.methods"]
    ternary = "my_package.ternary"
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """Yield the modules and packages that lie in `package`, then those that other distributions add to it.

    Raises:
        ImportError: One of them cannot be imported; nothing is left out in silence.
    """
    for info in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"{package.__name__}.{info.name}")
    for point in entry_points(group=package.__name__):
        yield importlib.import_module(point.module)


def collect(package: ModuleType, offered: Callable[[ModuleType], Iterable[tuple[str, T]]], what: str) -> dict[str, T]:
    """Return what the modules of `package` offer, by name.

    Raises:
        RuntimeError: Two have the same name; `what` says what they are, in the plural.
        ImportError: A module cannot be imported.
    """
    found: dict[str, T] = {}
    for module in modules(package):
        for name, item in offered(module):
            if name in found:
                raise RuntimeError(f"two {what} are called {name!r}: {found[name]} and {item}, of {module.__name__}")
            found[name] = item
    return found


def own_classes(module: ModuleType, base: type[T]) -> Iterator[type[T]]:
    """Yield the subclasses of `base` that are written in `module`, not those that it imports."""
    for item in vars(module).values():
        if isinstance(item, type) and issubclass(item, base) and item.__module__ == module.__name__:
            yield item
