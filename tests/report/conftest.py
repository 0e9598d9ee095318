"""Reports need few measurements: a short time for the latencies is enough here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dtc.checking import CheckOptions, CheckReport, check
from dtc.checking.measurements import Memory


@pytest.fixture(scope="package", autouse=True)
def quick_check() -> Iterator[None]:
    """Let compressions measure for a twentieth of a second, and no memory; the check itself stays as it is."""

    def quick(*paths: Path, options: CheckOptions, **named: Any) -> CheckReport:
        return check(*paths, options=replace(options, seconds=0.05), **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dtc.pipeline.checking.check", quick)
        memory = Memory(idle=10_000_000, peak=25_000_000)
        patch.setattr("dtc.checking.candidate.measure_memory", lambda *_, **__: memory)
        yield
