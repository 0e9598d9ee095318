"""Small models to make bundles of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from dtc.graph import save_model

SWITCHED = """<ir_version: 8, opset_import: ["": 17]>
switched (float[N,16] x, int64 sr, float[16,16] A, float[16,16] B) => (float[N,16] y, int64[2] sizes)
<int64 high = {16000}> {
  is_high = Equal(sr, high)
  y = If (is_high) <
    then_branch = top () => (float[N,16] a) { a = MatMul(x, A) },
    else_branch = low () => (float[N,16] b) { b = MatMul(x, B) }
  >
  sizes = Shape(x)
}"""
"""A network for each of two sample rates; an output of floats and one of integers."""


def write_switched(path: Path, scale: float = 1.0) -> Path:
    """Write the model; return its path."""
    model = ir.from_proto(onnx.parser.parse_model(SWITCHED))
    rng = np.random.default_rng(0)
    for value in [value for value in model.graph.inputs if str(value.name) in "AB"]:
        array = scale * rng.standard_normal((16, 16))
        value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    save_model(model, path)
    return path
