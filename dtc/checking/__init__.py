"""Models run and compared.

`candidate` holds any model to its reference, `fidelity` a written file to the distorted model that it was made of;
`benchmark` only measures, several models side by side. `differences` compares arrays and `measurements` times runs;
neither decides anything.
"""

from dtc.checking.benchmark import BenchReport, BenchRow, bench
from dtc.checking.candidate import check, check_unrun
from dtc.checking.options import CheckOptions
from dtc.checking.report import CheckReport, MetricChange, ModelFacts

__all__ = [
    "BenchReport",
    "BenchRow",
    "CheckOptions",
    "CheckReport",
    "MetricChange",
    "ModelFacts",
    "bench",
    "check",
    "check_unrun",
]
