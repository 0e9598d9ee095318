"""Where a derivative is infinite and the value is not: the square root of 0, as the spectrum of silence has it.

There the chain rule gives 0 times infinity, which is no number and spreads to every weight before it. No gradient
passes such a point, as none passes torch's own norm at 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Points = Callable[[Tensor], Tensor]
"""Tells of each number whether the derivative is infinite there."""


def stopped(x: Tensor, points: Points) -> Tensor:
    """Return x, with a gradient of 0 at the points; gradients that are not finite for another reason stay so."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return x
    own, numbers = x.view_as(x), x.detach()
    own.register_hook(lambda gradient: gradient.masked_fill(points(numbers), 0))
    return own


def without_poles(function: Callable[[Tensor], Tensor], points: Points) -> Callable[[Tensor], Tensor]:
    """Return the function with a gradient of 0 at the points."""
    return lambda x: function(stopped(x, points))


def zero(x: Tensor) -> Tensor:
    """The point of roots and logarithms."""
    return x == 0


def one(x: Tensor) -> Tensor:
    """The points of inverse sines and their like."""
    return x.abs() == 1
