"""Files for ONNX Runtime of opset 25: binary codes as INT2 planes that its own kernels multiply with."""

from dataclasses import replace

from dtc.passes.lower.targets.standard import TARGET as STANDARD

TARGET = replace(
    STANDARD,
    name="int2",
    title="as standard, but binary codes as INT2 planes, which ONNX Runtime computes with in 8-bit activations",
    int2_planes=True,
    opset=25,
    ir_version=13,  # the first one with INT2
    operators=(STANDARD.operators or frozenset()) | {"DequantizeLinear", "Sum"},
)
