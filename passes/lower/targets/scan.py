"""Files for ONNX Runtime without the native library: as `standard`, and a low-rank LSTM or GRU is a Scan.

A Scan multiplies with the factors at every step, where `standard` joins them when a session loads; MNN, IREE and TVM do
not take it.
"""

from dataclasses import replace

from dtc.passes.lower.targets.standard import TARGET as STANDARD

CELLS = {"Clip", "Identity", "Less", "NonZero", "Relu", "Scan", "Sigmoid", "Softplus", "Softsign", "Split", "Tanh"}
"""What the cells of LSTM and GRU consist of, where a Scan stands for a node."""

TARGET = replace(
    STANDARD,
    name="scan",
    title="as standard, but a low-rank LSTM or GRU computes with its factors at every step, in a Scan",
    operators=(STANDARD.operators or frozenset()) | CELLS,
)
