"""The kernels that a program calls, as far as it depends on them how weights are stored and multiplied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dtc.deploy.codegen.weights.encoding import Encoder, encode_smallest


@dataclass(frozen=True)
class KernelSet:
    """Kernels, and the memory that they are given.

    Attributes:
        encode: Stores a weight in a form of the kernels.
        width: DTC_WIDTH of the kernels: vectors that lie side by side.
        panel: Numbers of the vectors that a weight is multiplied with at once, up to a whole strip of them.
        headers: What declares kernels of forms that `kernels/matrix.h` does not.
    """

    encode: Encoder = encode_smallest
    width: int = 4
    panel: int = 4096
    headers: Sequence[str] = ()

    def together(self, count: int, cols: int) -> int:
        """Return how many of `count` vectors of `cols` numbers are multiplied at once: whole strips, evenly."""
        strips = math.ceil(count / self.width)
        turns = math.ceil(strips / math.ceil(self.panel / (cols * self.width)))
        return math.ceil(strips / turns) * self.width


MICROCONTROLLER = KernelSet()
"""Little memory, and no wide registers."""
