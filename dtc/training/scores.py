"""The value of a graph that the loss reads."""

from __future__ import annotations

import onnx_ir as ir

from dtc.errors import EngineError
from dtc.graph import source_of
from dtc.training.targets import Kind

_LOOKED_THROUGH = {
    "cross-entropy": ("Softmax", "LogSoftmax"),
    "ctc": ("Softmax", "LogSoftmax"),
    "bce": ("Sigmoid",),
    "distill": ("Softmax", "LogSoftmax"),
    "mse": (),
}


def scores_of(model: ir.Model, kind: Kind, output: str | None) -> ir.Value:
    """Return the value that the loss reads: the output, or the input of a Softmax or Sigmoid that ends the model.

    Raises:
        EngineError: There is no such output, or the output is not float32.
    """
    outputs = {value.name: value for value in model.graph.outputs}
    if output is not None and output not in outputs:
        raise EngineError(f"the model has no output {output!r}; it has {', '.join(str(name) for name in outputs)}")
    value = outputs[output] if output is not None else model.graph.outputs[0]
    if value.dtype not in (ir.DataType.FLOAT, None):
        raise EngineError(f"output {value.name!r} is not float32, no loss can be computed from it; choose another")
    # The loss of probabilities is computed from the scores before them: log(softmax(x)) as one operator is stable,
    # while the logarithm of a probability that was rounded to 0 is not.
    source = source_of(value) or value
    node = source.producer()
    if node is None or node.domain or node.op_type not in _LOOKED_THROUGH[kind]:
        return value
    # A Softmax over another axis than that of the classes is part of the model, not the end of it. Sigmoid has no axis.
    rank = None if source.shape is None else len(source.shape)
    axis = node.attributes.get_int("axis", -1)
    if node.op_type != "Sigmoid" and axis != -1 and (rank is None or axis != _class_axis(kind, rank)):
        return value
    inner = node.inputs[0]
    return value if inner is None else inner


def _class_axis(kind: Kind, rank: int) -> int:
    return 1 if kind == "cross-entropy" and rank > 3 else rank - 1
