"""OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAME, PACKAGE, MODULE = "openvino", "openvino", "openvino"


def run(path: str, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
    """Return the outputs; computed in float32, as OpenVINO rounds to bfloat16 where the processor has that."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({name: openvino.PartialShape(list(array.shape)) for name, array in feeds.items()})
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(dict(feeds))
    return [found[compiled.output(name)] for name in outputs]
