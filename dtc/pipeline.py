"""Compression from file to file, as a page of prose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dtc.check import CheckReport
from dtc.summary import Summary

FAITHFUL = 1e-4
"""Largest relative L2 difference between the written file and the distorted dense model: float rounding only."""


@dataclass(frozen=True)
class Compression:
    """What a compression run gave.

    Attributes:
        output: The file written.
        summary: Sites, methods and ratios.
        faithful: The written file against the distorted dense model: float rounding and nothing else.
        outcome: The written file against the original: metric, size, latency, memory.
        run: The run directory, where there was training.
    """

    output: Path
    summary: Summary
    faithful: CheckReport
    outcome: CheckReport
    run: Path | None
