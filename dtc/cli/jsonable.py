"""Results as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any


def to_json(result: Any) -> str:
    """Return a result (dataclasses, paths, numbers) as JSON; numbers that are not finite become null."""
    return json.dumps(_plain(result), indent=2)


def _plain(item: Any) -> Any:
    if is_dataclass(item) and not isinstance(item, type):
        return {each.name: _plain(getattr(item, each.name)) for each in fields(item)}
    if isinstance(item, dict):
        return {str(key): _plain(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [_plain(value) for value in item]
    if isinstance(item, Path):
        return str(item)
    if isinstance(item, float) and not math.isfinite(item):
        return None
    return item
