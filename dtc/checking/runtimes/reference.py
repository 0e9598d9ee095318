"""The reference evaluator of the package onnx: slow, and written from the specification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAME, PACKAGE, MODULE = "reference", "onnx", "onnx"


def run(path: str, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
    """Return the outputs."""
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(path).run(list(outputs), dict(feeds)))
