"""Axes: from numbers to places, and the ticks that a person expects."""

from __future__ import annotations

import math
from dataclasses import dataclass

_TICKS = 5
_FLAT, _TINY = 1e-9, 1e-200  # below these shares and values, all values are drawn as one


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic axis from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value in pixels; a value outside of the axis lies at the nearer end."""
        inside = min(max(value, self.low), self.high)
        # The share of the way from low to high: on a logarithmic axis from 1 to 100, 10 lies in the middle.
        if self.log:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round values within the axis: 1, 2, 5 times a power of ten, or powers of ten."""
        if self.log and self.high / self.low >= 10:
            return self._decades()
        # From 0 to 7.3: a fifth is 1.46, the next round step 2, the ticks 0 2 4 6. The 1e-9 keeps a tick at the very
        # end in spite of rounding.
        step = _round_step((self.high - self.low) / _TICKS)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _decades(self) -> list[float]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        # From 1e-9 to 1: ten powers are too many for six ticks, so every second is kept. From 2 to 40 there is one
        # power alone, and 2, 5, 10, 20 are the ticks.
        every = -(-(last - first + 1) // (_TICKS + 1))
        decades = [10.0**power for power in range(first, last + 1, every)]
        if last - first >= 2:
            return decades
        return sorted(
            value
            for power in range(first - 1, last + 1)
            for value in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
            if self.low <= value <= self.high
        )


def padded(values: list[float], start: float, end: float, *, log: bool = False, zero: bool = False) -> Scale:
    """Return a scale that covers all values with a little room at both ends, and zero as well if `zero` is set."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if log:
        room = max((high / low) ** 0.05, 1.05)
        return Scale(low / room, high * room, start, end, log=True)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    size = max(abs(low), abs(high))
    # Where all values are the same, or nearly, the room is a share of the value: an axis needs two ends.
    varied = high - low > max(_FLAT * size, _TINY)
    room = 0.05 * (high - low if varied else size) if size > _TINY else 1.0
    return Scale(low if zero and low == 0 else low - room, high + room, start, end)


def labels(values: list[float]) -> list[str]:
    """Return the labels of ticks, with the fewest digits (at least four) that make all labels different."""
    texts = [""] * len(values)
    # Losses 2.30251 and 2.30262 need five digits to differ; 0.5 and 1 differ with four, of which zeros at the end are
    # not written.
    for digits in range(4, 16):
        texts = [_label(value, digits) for value in values]
        if len(set(texts)) == len(texts):
            break
    return texts


def _label(value: float, digits: int) -> str:
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-3:
        mantissa, exponent = f"{value:.{digits - 3}e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    if size >= 1e4:
        return f"{value / 1e3:.{digits}g}k"
    return f"{value:.{digits}g}"


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)
