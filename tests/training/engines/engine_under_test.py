"""For scripts of cases: the engine that they are about, and how they tell what it did.

The engine is made as a worker makes it, by the factory that it declares.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from dtc.recipe import Objective
from dtc.training.engine import Engine
from dtc.training.engine_kind import engines
from dtc.training.engine_settings import EngineSettings


def make_engine(
    model: ir.Model, objective: Objective, *, teacher: ir.Model | None = None, threads: int = 1, **settings: Any
) -> Engine:
    told = EngineSettings(objective, threads=threads, **settings)
    return engines()[os.environ["ENGINE_UNDER_TEST"]].load()(model, told, teacher)


def tell(cases: Mapping[str, Callable[[], object]]) -> None:
    """Print as JSON what each case gives, or the text of the error that it ends with."""
    json.dump({name: _outcome(case) for name, case in cases.items()}, sys.stdout)


def _outcome(case: Callable[[], object]) -> object:
    try:
        return case()
    except Exception as error:  # noqa: BLE001 - reported to the test
        return f"{type(error).__name__}: {error}"[:500]
