"""Files for every runtime: standard operators alone, no function, and of those a short list.

The list is what was tried, on constants and beside other nodes, in ONNX Runtime from 1.17 on, in OpenVINO, tract, MNN
and the reference evaluator of the package onnx (`docs/runtimes.md`). Left out is what one of them has wrong or does not
take: BitShift (OpenVINO and MNN keep what is shifted out of a byte), QLinearMatMul, NonZero, Scan.
"""

from dtc.passes.lower.target import Target

DECODING = {
    "Add", "Cast", "Concat", "Constant", "ConstantOfShape", "CumSum", "Div", "Expand", "Flatten", "Gather",
    "GatherElements", "Greater", "Less", "Max", "Min", "Mod", "Mul", "Pad", "Range", "ReduceMax", "ReduceSum",
    "Reshape", "ScatterElements", "ScatterND", "Shape", "Slice", "Split", "Sub", "Transpose", "Where",
}  # fmt: skip
"""What makes a dense weight of what is stored."""

COMPUTING = {"Conv", "Gemm", "MatMul"}
"""What computes with factors, and with what whole lines of zeros leave."""

TARGET = Target(
    name="standard",
    title="standard operators alone, which decode compressed weights when a session loads, and right in every runtime",
    functions=False,
    replaces_readers=True,
    operators=frozenset(DECODING | COMPUTING),
)
