"""The batch that a run of the model is about: whole, or in parts that several processes run at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Whole:
    """What a run is to know of the whole batch, where it is given a part.

    Attributes:
        total_of: Makes the number of labels that count in the whole of that in the part.
        joint: Sums a tensor over all parts, with a gradient; None where there is but one.
        agreed: Tells if a thing is true of all parts.
    """

    total_of: Callable[[float], float] = float
    joint: Callable[[Tensor], Tensor] | None = None
    agreed: Callable[[bool], bool] = bool


WHOLE = Whole()
"""The batch is no part of another one."""
