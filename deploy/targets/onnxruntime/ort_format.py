"""`model.ort`: the model in ONNX Runtime's own format, which builds of it for small devices read, and nothing else.

That format has no functions, and holds what ONNX Runtime made of the model: what it folds is in the file as numbers.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import onnxruntime as ort

from dtc.custom_ops import register_custom_ops
from dtc.deploy.ops.library import register
from dtc.errors import ModelError, one_line
from dtc.formatting import size
from dtc.graph import load_model
from dtc.graph.walk import all_tensors
from dtc.scratch import scratch_folder

ORT_MODEL = "model.ort"

_GROWTH = 1.05
_SMALL = 1 << 16
"""What sizes, tables and joined biases may add to the constants of a model, a share and bytes."""


def write_ort(model: Path, target: Path) -> None:
    """Write a model in ONNX Runtime's format, nodes fused as on every processor.

    Raises:
        ModelError: ONNX Runtime does not take it, or weights would be in the file as they are decoded.
    """
    with scratch_folder() as scratch:
        _convert(model, scratch / "folded.onnx", "ONNX")
        before, after = (_constants(load_model(path)) for path in (model, scratch / "folded.onnx"))
    if after > before * _GROWTH + _SMALL:
        raise ModelError(
            f"--ort: model.ort would hold {size(after)} of constants in the place of {size(before)}, as ONNX Runtime "
            "decodes weights before it writes that format; leave --ort away, or compress by svd, which it keeps"
        )
    _convert(model, target, "ORT")


def _convert(model: Path, target: Path, form: str) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # The highest level is for this processor alone.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", form)
    register_custom_ops(options, but=register(options))
    try:
        ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no other common base
        raise ModelError(f"--ort: ONNX Runtime does not write its format of it: {one_line(error)}") from error


def _constants(model: ir.Model) -> int:
    return sum(tensor.nbytes for tensor in all_tensors(model))
