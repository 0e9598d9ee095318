"""ONNX Runtime without the native kernels: of another version, in an environment of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAME, PACKAGE, MODULE = "onnxruntime", "onnxruntime", "onnxruntime"


def run(path: str, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
    """Return the outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return list(session.run(list(outputs), dict(feeds)))
