"""The learning rate over time."""

from __future__ import annotations

import math

from dtc.recipe import Schedule


def learning_rate(schedule: Schedule, base: float, *, step: int, steps: int, epoch: int) -> float:
    """Return the rate of optimizer step number `step` (from 0) of `steps`, in epoch number `epoch` (from 0).

    `cosine` is I. Loshchilov, F. Hutter: SGDR, 2016 (arXiv 1608.03983), equation (5) with one period and a lower
    end of 0. `decay` is W. Zaremba et al., 2014 (arXiv 1409.2329), section 4.1: the first `after` epochs, and at
    least the first one, have the full rate.
    """
    match schedule.kind:
        case "constant":
            return base
        case "step":
            return base * schedule.factor ** (epoch // schedule.every)
        case "cosine":
            return base * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        case "decay":
            return base * schedule.factor ** max(0, epoch + 1 - max(1, schedule.after))
