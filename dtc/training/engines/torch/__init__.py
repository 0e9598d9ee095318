"""The `torch` engine: PyTorch in a worker process, on any Python and machine that PyTorch runs on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from dtc.errors import EngineError
from dtc.training.engine_kind import EngineKind


def _unavailable() -> str | None:
    return None if _installed() else "PyTorch is not installed; pip install 'dtc[torch]'"


def _installed() -> Path | None:
    # Looked for, not imported: that takes a second, and is the worker's to do.
    found = find_spec("torch")
    return None if found is None or found.origin is None else Path(found.origin).parent


def _install() -> Sequence[Path]:
    if reason := _unavailable():
        raise EngineError(reason)
    return []


def _title() -> str:
    try:
        return f"PyTorch {version('torch')}"
    except PackageNotFoundError:
        return "PyTorch"


ENGINE = EngineKind(
    name="torch",
    title=_title(),
    device="CPU, CUDA, MPS",
    factory="dtc.training.engines.torch.parallel.engine:make_engine",
    unavailable=_unavailable,
    installed=_installed,
    install=_install,
    devices=("cpu", "cuda", "mps"),
    precisions=("float32", "bf16", "fp16"),
    losses=("cross-entropy", "ctc", "mse", "bce", "distill"),
    parallel=True,
    control_flow=True,
    preference=5,
)
