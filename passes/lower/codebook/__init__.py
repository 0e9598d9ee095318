"""Lowering of codebooks."""

from dtc.deploy.ops.codebook.decode import OPSET
from dtc.forms import Codebook
from dtc.passes.lower.codebook import opset7
from dtc.passes.lower.codebook.lowering import SAMPLES, lower, measured
from dtc.passes.lower.codebook.together import decode_together
from dtc.passes.lower.kinds import FormKind

KIND = FormKind(
    form=Codebook,
    lower=lower,
    opset=OPSET,
    older=opset7.decode,
    together=decode_together,
    operators=("CodebookMatMul", "CodebookGather", "CodebookDequantize"),
    recurrent=("codebook",),
    measured=measured,
    samples=SAMPLES,
)
