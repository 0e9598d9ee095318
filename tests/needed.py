"""What tests need of the machine: where it is not there they are skipped, but not in CI, which has to have it."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """End a test for want of something: in CI as a failure."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def unless(reason: str | None) -> pytest.MarkDecorator:
    """Skip a test for this reason, if there is one; in CI it is run, and fails."""
    return pytest.mark.skipif(reason is not None and not os.environ.get("CI"), reason=str(reason))
