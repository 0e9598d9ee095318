"""The few calls of the training build of ONNX Runtime: sessions and the gradient builder, both silent."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir as ir

from dtc.custom_ops import register_custom_ops
from dtc.errors import EngineError
from dtc.training.engines.ort.control_flow import put_back, set_aside

_FATAL = 4


def load_runtime() -> Any:
    """Return the module `onnxruntime` of the training build.

    Raises:
        EngineError: This process has another build of ONNX Runtime first on its path.
    """
    import onnxruntime
    from onnxruntime.capi import _pybind_state

    if not hasattr(_pybind_state, "GradientGraphBuilder"):
        raise EngineError(
            f"onnxruntime {onnxruntime.__version__} cannot train; the engine runs in a process whose first path "
            "entry is the private copy of onnxruntime-training (dtc engine install ort)"
        )
    onnxruntime.set_default_logger_severity(_FATAL)
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def serialize(model: ir.Model) -> bytes:
    """Return the model as protobuf bytes."""
    return ir.to_proto(model).SerializeToString()


def open_session(model: ir.Model, threads: int | None) -> Any:
    """Return an `InferenceSession` of the model."""
    runtime = load_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL
    # The same run gives the same bits, whether it was interrupted or not.
    options.use_deterministic_compute = True
    if threads is not None:
        options.intra_op_num_threads = threads
    register_custom_ops(options)
    return runtime.InferenceSession(serialize(model), options, providers=["CPUExecutionProvider"])


def differentiate(model: ir.Model, wrt: set[str], loss: str) -> ir.Model:
    """Return the model with the gradients of `loss` with respect to the values `wrt`, each called `<name>_grad`.

    Raises:
        RuntimeError: What the builder says; `capability` turns it into words.
    """
    load_runtime()
    from onnxruntime.capi import _pybind_state

    options = _pybind_state.SessionOptions()
    options.log_severity_level = _FATAL
    # The builder reads and writes protobuf bytes. Nodes with bodies are taken out before it and put back after it, at
    # the end of the list: only then the graph has to be sorted.
    proto = ir.to_proto(model)
    aside = set_aside(proto)
    builder = _pybind_state.GradientGraphBuilder(proto.SerializeToString(), {loss}, wrt, loss, options)
    builder.build()
    differentiated = onnx.load_from_string(builder.get_model())
    put_back(differentiated, aside)
    found = ir.from_proto(differentiated)
    if aside.nodes:
        found.graph.sort()
    return found
