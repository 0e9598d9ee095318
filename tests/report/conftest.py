"""Reports need few measurements: a short time for the latencies is enough here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial

import pytest

from dtc.check import check
from dtc.measure import Memory


@pytest.fixture(scope="package", autouse=True)
def quick_check() -> Iterator[None]:
    """Let compressions measure for a twentieth of a second, and no memory; the check itself stays as it is."""

    def quick(*arguments: object, seconds: float = 0.05, **named: object) -> object:
        return partial(check, *arguments, **named)(seconds=seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dtc.pipeline.check", quick)
        patch.setattr(
            sys.modules["dtc.check"], "measure_memory", lambda *_, **__: Memory(idle=10_000_000, peak=25_000_000)
        )
        yield
