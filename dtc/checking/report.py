"""What a check found, as the document that `dtc check --json` prints and the report of a compression holds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import Field

from dtc.checking.differences import OutputDifference
from dtc.checking.elsewhere import Elsewhere
from dtc.checking.measurements import Latency, Memory
from dtc.document import Document, DocumentPart, Real


class ModelFacts(DocumentPart):
    """What a model costs: bytes of its files, and what was measured of it (None where it was not)."""

    path: Path
    file_bytes: int
    latency: Latency | None = None
    memory: Memory | None = None


class MetricChange(DocumentPart):
    """A metric of the reference and of the candidate on the same data.

    Attributes:
        name: Name of the metric.
        higher_is_better: Its direction.
        before: Value of the reference.
        after: Value of the candidate.
        labelled: False where the data has no labels and the reference's own outputs stand for them.
        samples: Which samples both values were taken from, and why these: name of the data, range or split, number of
            batches, whether they were held out.
        drop_error: Standard error of the drop: of the difference of both models on the same samples.
        share_error: The same of the drop as a share of the value before.
        count: How many samples these were told by; of a stream, blocks of it.
    """

    name: str
    higher_is_better: bool
    before: Real
    after: Real
    labelled: bool
    samples: str = ""
    drop_error: Real = math.nan
    share_error: Real = math.nan
    count: int = 0

    @property
    def drop(self) -> float:
        """How much worse the candidate is, in the metric's own unit; negative if it is better."""
        if self.before == self.after:
            return 0.0
        return self.before - self.after if self.higher_is_better else self.after - self.before


class CheckReport(Document):
    """What a check found.

    Attributes:
        reference: The model compared with.
        candidate: The model checked.
        inputs: Where the inputs came from, in words.
        differences: The outputs, one by one.
        metric: What they are worth on data; None without data.
        kernels: Largest relative L2 of the candidate's outputs on the native kernels from those on the functions in its
            file; None where it has no operators of dtc or the kernels did not run.
        failures: Every reason why the candidate does not pass; empty if it does.
        judged: Whether a limit was asked for: without one nothing can be said to have passed.
        caveats: What was not compared, in words: branches that no input took, outputs that were empty.
        elsewhere: What other runtimes make of the candidate, one by one.
    """

    schema_: Literal["dtc-check/1"] = Field("dtc-check/1", alias="schema")
    reference: ModelFacts
    candidate: ModelFacts
    inputs: str = ""
    differences: tuple[OutputDifference, ...] = ()
    metric: MetricChange | None = None
    kernels: Real | None = None
    failures: tuple[str, ...] = ()
    judged: bool = False
    caveats: tuple[str, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()

    @property
    def verdict(self) -> Literal["passed", "failed", "not judged"]:
        """What came of it: not judged where nothing failed, and no limit was asked for."""
        if self.failures:
            return "failed"
        return "passed" if self.judged else "not judged"

    @property
    def largest_difference(self) -> float | None:
        """Relative L2 of the output that is furthest away; None where none was compared."""
        return max((each.relative_l2 for each in self.differences), default=None)
