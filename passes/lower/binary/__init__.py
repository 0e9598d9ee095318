"""Lowering of binary codes."""

from dtc.deploy.ops.binary.decode import OPSET
from dtc.forms import BinaryCode
from dtc.passes.lower.binary import opset7
from dtc.passes.lower.binary.lowering import SAMPLES, lower, measured
from dtc.passes.lower.binary.together import decode_forms_together
from dtc.passes.lower.kinds import FormKind

KIND = FormKind(
    form=BinaryCode,
    lower=lower,
    opset=OPSET,
    older=opset7.decode,
    together=decode_forms_together,
    operators=("BinaryMatMul", "BinaryGather", "BinaryDequantize", "BinaryUnmask"),
    recurrent=("binary",),
    measured=measured,
    samples=SAMPLES,
)
