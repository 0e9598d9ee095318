"""The operators, a module a family; importing a module registers its functions.

An operator is added as a function in the module of its family; a family as a module, which is found by being there.
"""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
