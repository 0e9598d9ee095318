"""Files for every runtime: standard operators alone, no function, and of those a short list."""

from dtc.passes.lower.target import Target

DECODING = {
    "Add", "BitShift", "Cast", "Concat", "Constant", "ConstantOfShape", "CumSum", "Div", "Expand", "Flatten", "Gather",
    "GatherElements", "Greater", "Min", "Mod", "Mul", "NonZero", "Pad", "QLinearMatMul", "Range", "ReduceMax",
    "ReduceSum", "Reshape", "ScatterElements", "ScatterND", "Shape", "Slice", "Sub", "Transpose", "Where",
}  # fmt: skip
"""What makes a dense weight of what is stored."""

COMPUTING = {"Conv", "Gemm", "MatMul"}
"""What computes with factors, and with what whole lines of zeros leave."""

RECURRENT = {"Clip", "Identity", "Less", "Relu", "Scan", "Sigmoid", "Softplus", "Softsign", "Split", "Tanh"}
"""What the cells of LSTM and GRU consist of, where a Scan stands for a node."""

TARGET = Target(
    name="standard",
    title="standard operators alone, which decode compressed weights when a session loads",
    functions=False,
    replaces_readers=True,
    operators=frozenset(DECODING | COMPUTING | RECURRENT),
)
