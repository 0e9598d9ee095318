"""Files for ONNX Runtime of opset 25: binary codes as INT2 planes that its own kernels multiply with."""

from dataclasses import replace

from dtc.passes.lower.targets.standard import TARGET as STANDARD

TARGET = replace(
    STANDARD,
    name="int2",
    title="as standard, but from opset 25 on binary codes as INT2 planes, which ONNX Runtime computes with in 8 bits",
    int2_planes=True,
    operators=(STANDARD.operators or frozenset()) | {"DequantizeLinear", "Sum"},
)
