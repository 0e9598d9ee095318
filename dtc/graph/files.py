"""The files of a model: the model file itself, and the files of external data that it names."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from dtc.graph.walk import all_graphs


def model_files(path: Path, model: ir.Model) -> tuple[Path, ...]:
    """Return the file at `path`, which `model` was loaded from, then the files of its external data, by name."""
    tensors = (value.const_value for graph in all_graphs(model) for value in graph.initializers.values())
    external = {str(tensor.location) for tensor in tensors if isinstance(tensor, ir.ExternalTensor)}
    return (path, *(path.parent / name for name in sorted(external)))


def file_bytes(path: Path, model: ir.Model) -> int:
    """Return the bytes on disk of all files of a model."""
    return sum(file.stat().st_size for file in model_files(path, model))
