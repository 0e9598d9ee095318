"""Running a model in the installed ONNX Runtime."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort

from dtc.custom_ops import register_custom_ops
from dtc.deploy.ops.library import register
from dtc.errors import DataError, ModelError, one_line
from dtc.graph.signature import Arrays, Dim, TensorSpec

ort.disable_telemetry_events()  # for a process that had loaded ONNX Runtime before dtc

Outputs: TypeAlias = dict[str, Any]
"""Arrays by name; of a sequence a list, of a map a dict, of an optional that is not there None."""

_UNKNOWN = "is not a registered function/op"
"""What ONNX Runtime says of an operator that it does not know."""

THREADS = "DTC_THREADS"
"""The environment variable by which processes that share the cores of a machine tell their own number of threads."""

UNFOLDED: Mapping[str, str] = {
    "optimization.disable_specified_optimizers": "ConstantFolding;ReshapeFusion",
}
"""Settings of a session that computes what is constant in every run, and lets go of what lies between.

Where nothing is folded, ONNX Runtime 1.32 fuses a Reshape to a shape that is computed from an input's with the one
before it to a wrong constant shape (seen where a function ends in the first one), so that is left out, too.
"""

_SILENT = 4  # only fatal errors: everything else comes back as an exception

_SOURCE = re.compile(r"\S*/onnxruntime/\S+\.(?:cc|h):\d+ ")
"""Where in its own sources ONNX Runtime raised an error."""

_DTYPES = {"float": "float32", "double": "float64"} | {
    name: name for name in ("float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
}


def session(
    path: str | Path,
    *,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    settings: Mapping[str, str] | None = None,
    native: bool = True,
    sparing: bool = False,
    called: str | None = None,
) -> ort.InferenceSession:
    """Return a session of the model at `path`, on the CPU unless `providers` says otherwise.

    `threads` is the number of threads of one operator, if not given what the environment variable `DTC_THREADS` says,
    or else all physical cores; `settings` are ONNX Runtime's session configuration entries. The operators of dtc run on
    the native library where there is one, unless `native` is false; else on the functions that the file carries. Those
    of libraries in use (`dtc.custom_ops`) are known too. A `sparing` session holds no more than the file's own arrays:
    what follows from them is computed in every run, and let go.
    `called` is what messages call the model in place of `path`, where that is a file which no user knows.

    Raises:
        ModelError: ONNX Runtime refuses the model; the message names the file and, where it is one, the node.
        LibraryError: The native library cannot be loaded.
    """
    path, known = Path(path), called or str(path)
    if not path.is_file():
        raise ModelError(f"{known}: no such file")
    return _opened(str(path), known, _options(threads, settings, native=native, sparing=sparing), providers)


def session_of(
    message: bytes,
    arrays: Arrays,
    *,
    called: str,
    threads: int | None = None,
    settings: Mapping[str, str] | None = None,
    native: bool = True,
) -> ort.InferenceSession:
    """Return a session of a model in memory, on the CPU; the rest is as for `session`.

    `arrays` are initializers that the model names as external data: they are read where they are, without a copy, and
    have to stay there as long as the session.

    Raises:
        ModelError: ONNX Runtime refuses the model.
    """
    options = _options(threads, settings, native=native, sparing=False)
    options.add_external_initializers(
        list(arrays), [ort.OrtValue.ortvalue_from_numpy(each) for each in arrays.values()]
    )
    return _opened(message, called, options, None)


def _options(
    threads: int | None, settings: Mapping[str, str] | None, *, native: bool, sparing: bool
) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads or int(os.environ.get(THREADS, "0"))
    options.inter_op_num_threads = 1
    for key, value in (settings or {}).items():
        options.add_session_config_entry(key, value)
    if sparing:
        # Folded constants and all that led to them are held until the last is folded: for codes of two bits nine times
        # the weights that they stand for.
        for key, value in UNFOLDED.items():
            options.add_session_config_entry(key, value)
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    register_custom_ops(options, but=register(options) if native else None)
    return options


def _opened(
    model: str | bytes, known: str, options: ort.SessionOptions, providers: Sequence[str] | None
) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(model, options, providers=list(providers or ["CPUExecutionProvider"]))
    except Exception as error:  # ONNX Runtime's errors have no other common base
        reason = _reason(error)
        if isinstance(model, str):
            reason = reason.removeprefix(f"Load model from {model} failed:").replace(model, known)
        mend = "; name the library that registers it with --custom-ops" if _UNKNOWN in reason else ""
        raise ModelError(f"{known}: ONNX Runtime {ort.__version__} does not load it: {reason}{mend}") from error


def signature(running: ort.InferenceSession) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and the outputs of the model that a session runs."""
    return (
        tuple(_spec(argument) for argument in running.get_inputs()),
        tuple(_spec(argument) for argument in running.get_outputs()),
    )


def runner(running: ort.InferenceSession) -> Callable[[Arrays], Outputs]:
    """Return a function from inputs by name to all outputs by name, in the model's order.

    The function takes what the model needs and ignores other names. It raises DataError if an input is missing or has
    another dtype or shape than the model wants, and ModelError if the model fails while it runs.
    """
    inputs, outputs = signature(running)
    names = [spec.name for spec in outputs]
    quiet = ort.RunOptions()
    quiet.log_severity_level = _SILENT

    def run(batch: Arrays) -> Outputs:
        if missing := [spec for spec in inputs if spec.name not in batch]:
            raise DataError(_needed(missing, batch, outputs))
        feed = {spec.name: _fitting(spec, batch[spec.name]) for spec in inputs}
        try:
            return dict(zip(names, running.run(names, feed, quiet), strict=True))
        except Exception as error:
            raise ModelError(f"the model fails while it runs: {_reason(error)}") from error

    return run


def _needed(missing: Sequence[TensorSpec], batch: Iterable[str], outputs: Sequence[TensorSpec]) -> str:
    """Return which inputs the data does not hold, and where they may come from."""
    told = (
        f"the model needs input {', '.join(map(str, missing))}, but the data holds only {', '.join(map(repr, batch))}"
    )
    scalars = [spec.name for spec in missing if not spec.shape]
    same = f"; an array without axes is the same in all batches: np.savez(..., {scalars[0]}=...)" if scalars else ""
    return told + "".join(_carried(spec, outputs) for spec in missing) + same


def _fitting(spec: TensorSpec, value: Any) -> Any:
    if "(" in spec.dtype:  # sequences, maps and optionals are left to ONNX Runtime
        return value
    if not isinstance(value, np.ndarray):
        raise DataError(f"the model needs input {spec}, but the data holds {type(value).__name__}")
    shape_fits = len(value.shape) == len(spec.shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(spec.shape, value.shape, strict=True)
    )
    dtype = "string" if value.dtype.kind in "OUS" else value.dtype.name
    if dtype != spec.dtype or not shape_fits:
        raise DataError(f"the model needs input {spec}, but the data holds {dtype} {list(value.shape)}")
    return value


def _carried(spec: TensorSpec, outputs: Sequence[TensorSpec]) -> str:
    """Return how to say that an input is state, where an output of its shape may be what it is carried from."""
    for output in outputs:
        known = zip(output.shape, spec.shape, strict=False)
        fits = all(not (isinstance(a, int) and isinstance(b, int)) or a == b for a, b in known)
        if spec.shape and fits and (output.dtype, len(output.shape)) == (spec.dtype, len(spec.shape)):
            return f"; if output {output.name!r} gives it to the next batch: --carry {output.name}={spec.name}"
    return ""


def _spec(argument: Any) -> TensorSpec:
    return TensorSpec(argument.name, _dtype(argument.type), tuple(_dim(dim) for dim in argument.shape or ()))


def _dtype(kind: str) -> str:
    """Return `seq(float32)` for `seq(tensor(float))`."""
    for wrapping in ("seq", "optional"):
        if kind.startswith(f"{wrapping}("):
            return f"{wrapping}({_dtype(kind[len(wrapping) + 1 : -1])})"
    plain = kind.removeprefix("tensor(").removesuffix(")") if kind.startswith("tensor(") else kind
    return _DTYPES.get(plain, plain)


def _dim(dim: Dim) -> Dim:
    # ONNX Runtime calls a size without a name unk__0, unk__1, ...: names that tie nothing together.
    # Some exporters write -1 or 0 for a size that is free.
    return None if _is_free(dim) else dim


def _is_free(dim: int | str | None) -> bool:
    return dim.startswith("unk__") if isinstance(dim, str) else dim is None or dim <= 0


def _reason(error: Exception) -> str:
    """Return ONNX Runtime's message on one line, without its status code and its source files."""
    # "[ONNXRuntimeError] : 1 : FAIL : Load model from m.onnx failed" -> "Load model from m.onnx failed"
    text = _SOURCE.sub("", one_line(error, 4000))
    for prefix in ("[ONNXRuntimeError] : ", "[ONNXRuntimeError]"):
        text = text.removeprefix(prefix)
    parts = text.split(" : ", 2)
    return (parts[2] if len(parts) == 3 and parts[0].isdigit() else text)[:400]
