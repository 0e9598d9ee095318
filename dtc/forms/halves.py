"""Numbers of forms and of models in float16, where that holds them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from dtc.forms.base import Array, Form

PRECISION = 2.0**-11
"""Relative error of rounding to float16."""


@runtime_checkable
class Halvable(Protocol):
    """A form with scales that may be in float16."""

    def halved(self) -> Form:
        """Return the form with its scales in float16, or itself where that holds them not, or is no smaller."""
        ...


def halved(form: Form) -> Form:
    """Return a form with its scales in float16 where it has such, and float16 holds them."""
    return form.halved() if isinstance(form, Halvable) else form


def fits_float16(array: Array) -> bool:
    """Return whether float16 holds float32 numbers, all together, to its precision: none too large, few too small."""
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float16).astype(np.float64)
    return bool(np.isfinite(rounded).all()) and float(np.linalg.norm(rounded - array)) <= PRECISION * float(
        np.linalg.norm(array)
    )
