"""The schedule of gradual pruning: the sparsity at each step of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dtc.errors import UsageError
from dtc.passes.method import DistortionStep

_STEP = re.compile(r"^(?:(\d+)|(\d+(?:\.\d+)?)%)$")


@dataclass(frozen=True)
class Point:
    """A step of a run: a number of optimizer steps, or a share of all of them."""

    steps: int | None
    share: float

    @classmethod
    def of(cls, text: str) -> Point:
        """Parse `"8000"` or `"40%"`.

        Raises:
            ValueError: The text is neither a number nor a share of 100 % at most.
        """
        match = _STEP.match(text.strip())
        if match is None or (match[2] is not None and float(match[2]) > 100):
            raise ValueError(f"{text!r} is neither a number of steps (8000) nor a share of the run (40%)")
        return cls(int(match[1]), 0.0) if match[1] is not None else cls(None, float(match[2]) / 100)

    def step(self, steps: int) -> int:
        """Return the number of the step in a run of `steps` steps."""
        return self.steps if self.steps is not None else round(self.share * steps)


@dataclass(frozen=True)
class PruningSchedule:
    """Gradual pruning: `p_t = p_f + (p_i - p_f) (1 - (t - t_i) / (t_f - t_i))^E`, DeepTwist equation (1).

    M. Zhu, S. Gupta: To prune, or not to prune, 2017 (arXiv 1710.01878) have `E = 3`.

    Attributes:
        initial: `p_i`, the sparsity at `t_i`.
        final: `p_f`, from `t_f` on, and wherever there is no training.
        begin: `t_i`; nothing is pruned before.
        end: `t_f`.
        exponent: `E`.
    """

    initial: float
    final: float
    begin: Point
    end: Point
    exponent: float

    def sparsity(self, at: DistortionStep) -> float | None:
        """Return the sparsity at a step; None before pruning begins.

        Raises:
            UsageError: The end lies before the beginning or behind the run.
        """
        # 1. Without training there is one distortion, at full strength.
        if at.steps == 0:
            return self.final
        begin, end = self._span(at.steps)
        # 2. Before the beginning.
        if at.step < begin:
            return None
        # 3. From the end on; where it is the beginning too, the formula would divide by zero.
        if at.step >= end:
            return self.final
        # 4. Between: from 0 to 0.8 in steps 0 to 100 with exponent 3, step 50 has 0.8 - 0.8 * 0.5^3 = 0.7.
        left = 1 - (at.step - begin) / (end - begin)
        return self.final + (self.initial - self.final) * float(left**self.exponent)

    def at_full_strength(self, at: DistortionStep) -> bool:
        """True once the final sparsity is reached."""
        return at.steps == 0 or at.step >= self._span(at.steps)[1]

    def _span(self, steps: int) -> tuple[int, int]:
        begin, end = self.begin.step(steps), self.end.step(steps)
        if begin > end:
            raise UsageError(f"--begin-step is step {begin} of this run, behind --end-step, which is step {end}")
        if end > steps:
            raise UsageError(f"--end-step {end} lies behind the run's {steps} steps: the sparsity is never reached")
        return begin, end
