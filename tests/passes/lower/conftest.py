"""Lowering in tests: the matrices are small, and computed on codes all the same."""

from __future__ import annotations

import pytest

from dtc.passes.lower import costs


@pytest.fixture(autouse=True)
def on_codes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no small size decide for decoding, but where a test is about that decision (`measured_costs`)."""
    if "measured_costs" not in request.keywords:
        monkeypatch.setattr(costs, "choose", lambda form, rows=None: costs.Choice(True, "it is a test"))
