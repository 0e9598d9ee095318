"""The options of a check: its limits, its inputs, and how both models run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dtc.checking.runtime import Runtime
from dtc.recipe import Objective


@dataclass(frozen=True)
class CheckedBatch:
    """Both models were run on batch number `batch` (from 1) of the data; of `batches`, None where that is unknown."""

    batch: int
    batches: int | None


@dataclass(frozen=True)
class CheckOptions:
    """How a candidate is checked.

    Attributes:
        objective: The metric, and which output and labels it reads.
        max_drop: Largest allowed loss of the metric, in its own unit: 0.01 is one point of accuracy.
        max_difference: Largest allowed distance of any output, as relative L2.
        because: Why `max_difference` is what it is, in words for a message.
        fixed: Inputs held as they are, by name, where no data is given.
        examples: Inputs that are compared on beside the generated ones, where no data is given.
        seed: Of generated inputs.
        threads: Threads of one operator of ONNX Runtime; None for all physical cores.
        seconds: For the latency of both models; with 0 neither latency nor memory is measured.
        native: Whether operators of dtc run on the native kernels where there are any, or on the functions in the file.
        on_batch: Is told after each batch of data, which may be hours of work.
        called: What messages call the reference and the candidate, where no user knows their paths.
        runtimes: Other runtimes that the candidate is run in.
        memory: Bytes that may be taken; None: what is free.
    """

    objective: Objective = field(default_factory=Objective)
    max_drop: float | None = None
    max_difference: float | None = None
    because: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    examples: tuple[Mapping[str, Any], ...] = ()
    seed: int = 0
    threads: int | None = None
    seconds: float = 2.0
    native: bool = True
    on_batch: Callable[[CheckedBatch], None] = lambda _: None
    called: tuple[str, str] | None = None
    runtimes: tuple[Runtime, ...] = ()
    memory: int | None = None
