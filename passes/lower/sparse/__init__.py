"""Lowering of sparse weights."""

from dtc.deploy.ops.sparse.decode import OPSET
from dtc.forms.sparse import Sparse
from dtc.passes.lower.kinds import FormKind
from dtc.passes.lower.sparse import opset7
from dtc.passes.lower.sparse.gaps import decode_forms_together
from dtc.passes.lower.sparse.lowering import SAMPLES, lower, measured, refuse

KIND = FormKind(
    form=Sparse,
    lower=lower,
    refuse=refuse,
    opset=OPSET,
    older=opset7.decode,
    together=decode_forms_together,
    operators=tuple(layout + what for layout in ("Sparse", "Bitmap") for what in ("MatMul", "Gather", "Dequantize")),
    recurrent=("sparse", "bitmap"),
    measured=measured,
    samples=SAMPLES,
)
