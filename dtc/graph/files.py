"""The files of a model: the model file itself, and the files of external data that it names."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from dtc.graph.file_tensor import FileTensor
from dtc.graph.walk import all_tensors


def model_files(path: Path, model: ir.Model) -> tuple[Path, ...]:
    """Return the file at `path`, which `model` was loaded from, then the files of its external data, by name."""
    external = {file for tensor in all_tensors(model) if (file := _file_of(tensor, path)) is not None}
    return (path, *sorted(external - {path}))


def _file_of(tensor: ir.TensorProtocol, path: Path) -> Path | None:
    if isinstance(tensor, FileTensor):
        return tensor.part.path
    return path.parent / str(tensor.location) if isinstance(tensor, ir.ExternalTensor) else None


def file_bytes(path: Path, model: ir.Model) -> int:
    """Return the bytes on disk of all files of a model."""
    return sum(file.stat().st_size for file in model_files(path, model))
