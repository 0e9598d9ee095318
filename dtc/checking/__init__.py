"""Models run and compared.

`check` holds a candidate to its reference, `fidelity` a written file to the distorted model that it was made of.
`bench` only measures. `differences` compares arrays, `measurements` times runs; neither decides anything.
"""

from dtc.checking.bench import BenchReport, BenchRow, bench
from dtc.checking.check import check
from dtc.checking.options import CheckOptions
from dtc.checking.report import CheckReport, MetricChange, ModelFacts

__all__ = ["BenchReport", "BenchRow", "CheckOptions", "CheckReport", "MetricChange", "ModelFacts", "bench", "check"]
