"""When computing on a compressed weight beats decoding it at load: a small measured table, which a target holds.

The alternative to an operator on codes is the dense product, after the weight was decoded when the session loaded. What
the operator gains depends on the form, on both sides of the matrix, on how many rows are multiplied with the weight at
once, and on the machine. `dtc ops measure-costs` measures a table with one thread; between its points it is
interpolated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dtc.errors import UsageError

MAX_BYTES = 1 << 20
"""No table of costs is longer; a larger file is something else."""


class Costs(BaseModel):
    """Speeds of products with compressed weights, in multiples of the dense float32 product's, on one machine.

    Attributes:
        format: Version of the file.
        machine: What was measured, and with which versions, in words.
        sides: Sides of the matrices `[out, in]` measured, ascending: every pair of them was.
        rows: Rows of the other factor measured, ascending: the batch, or the steps times the batch of a sequence.
        speeds: For each measured form, by name, a table for each of `rows`: a row for each `out`, with a number for
            each `in`.
        node: Multiplications of a dense product of many rows that one node more takes as long as.
        worth: How many times faster an operator has to be: less may be noise, and its function takes room in the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal[2] = 2
    machine: str
    sides: tuple[int, ...] = Field(min_length=1)
    rows: tuple[int, ...] = Field(min_length=1)
    speeds: Mapping[str, tuple[tuple[tuple[float, ...], ...], ...]]
    node: float = Field(30_000, ge=0)
    worth: float = Field(1.2, gt=0)

    @model_validator(mode="after")
    def _complete(self) -> Costs:
        if list(self.sides) != sorted(set(self.sides)) or list(self.rows) != sorted(set(self.rows)):
            raise ValueError("sides and rows ascend")
        if min(self.sides) < 1 or min(self.rows) < 1:
            raise ValueError("sides and rows are at least 1")
        side = len(self.sides)
        for name, tables in self.speeds.items():
            if [[len(line) for line in table] for table in tables] != [[side] * side] * len(self.rows):
                raise ValueError(f"{name}: {len(self.rows)} tables of {side} rows of {side} speeds are needed")
            if np.min(tables) <= 0:
                raise ValueError(f"{name}: a speed is above 0")
        return self

    def speed(self, points: Mapping[str, float], at: float, shape: tuple[int, int], rows: int | None) -> float | None:
        """Return the speed of a form, interpolated between measured forms, for a matrix `[out, in]` and `rows` rows.

        `points` are the measured forms with their places on a line, ascending, on which the form is `at`. None where
        the table has none of them.
        """
        # Only forms that this table has count as points: a table may be older than a form.
        known = {name: place for name, place in points.items() if name in self.speeds}
        if not known:
            return None
        return _between(at, list(known.values()), [self._of(name, shape, rows) for name in known])

    def _of(self, name: str, shape: tuple[int, int], rows: int | None) -> float:
        """Return the speed of one measured form, interpolated between `in`, then between `out`, then between rows.

        Where the model leaves rows open it is the least of all: nobody shall pay for a gain that others have.
        """
        # On all axes speeds are interpolated over logarithms: between the sides 128 and 2048, 512 lies in the middle.
        out, inner = (np.log2(max(side, 1)) for side in shape)
        sides = np.log2(self.sides)
        by_rows = [
            _between(out, sides, [_between(inner, sides, line) for line in table]) for table in self.speeds[name]
        ]
        return min(by_rows) if rows is None else _between(np.log2(max(rows, 1)), np.log2(self.rows), by_rows)


@dataclass(frozen=True)
class Choice:
    """How the product with a compressed weight is computed, and why.

    Attributes:
        pays: True for an operator on the compressed weight; False for the dense product, with the weight decoded when
            a session loads.
        reason: In words, with the numbers.
        speed: How many times faster than the dense product the operator is expected to be; None: the table does not
            tell.
    """

    pays: bool
    reason: str
    speed: float | None


def choose(speed: float | None, rows: int | None, costs: Costs) -> Choice:
    """Choose between codes and dense for a product of `rows` rows (None: not known), by its speed on codes."""
    if speed is None:
        return Choice(pays=True, reason="computed on as it is; how fast was not measured", speed=None)
    of = "" if rows is None else f" of {rows} row{'s' if rows > 1 else ''}"
    told = f"{speed:.1f}x the speed of the dense product{of}"
    if speed >= costs.worth:
        return Choice(pays=True, reason=f"computed on as it is: about {told}", speed=speed)
    asked = f", and {costs.worth:g}x is the least that pays" if speed > 1 else ""
    decoded = f"decoded when a session loads: computed on as it is, it would have about {told}{asked}"
    return Choice(pays=False, reason=decoded, speed=speed)


SHIPPED = {"amx": "costs_amx.json", "avx512": "costs_avx512.json"}
"""Tables that come with dtc beside the default one, by the name that `--costs` takes."""


@cache
def default_costs() -> Costs:
    """Return the table that targets have where the user names no other: of machines of all kinds the least."""
    return _shipped("costs.json")


def load_costs(path: Path) -> Costs:
    """Read a table that `dtc ops measure-costs` wrote, or one of those that come with dtc, by its name.

    Raises:
        UsageError: The file is missing, or is none.
    """
    if path.name in SHIPPED and not path.exists():
        return _shipped(SHIPPED[path.name])
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES)
        return Costs.model_validate_json(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"{place + ': ' if place else ''}{first['msg']}"
        raise UsageError(f"{path}: is no table of costs ({reason}); dtc ops measure-costs writes one") from error


@cache
def _shipped(name: str) -> Costs:
    text = files("dtc.passes.lower.targets").joinpath(name).read_text(encoding="utf-8")
    return Costs.model_validate_json(text)


def _between(at: float, points: object, values: object) -> float:
    """Interpolate; beyond the ends their values hold."""
    return float(np.interp(at, np.asarray(points, dtype=float), np.asarray(values, dtype=float)))
