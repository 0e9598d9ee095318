"""What is loaded late, or not at all: a package that would import another for nothing is loaded alone."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec
from pathlib import Path

import pytest

from dtc.late_imports import LateImports

PACKAGE = """
try:
    from onnxruntime.training import front_end
except ImportError:
    front_end = None
"""


def test_onnx_runtime_is_loaded_without_its_front_end_which_can_be_imported_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime" / "training").mkdir(parents=True)
    (tmp_path / "onnxruntime" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "onnxruntime" / "training" / "__init__.py").write_text("front_end = 'loads PyTorch'")
    spec = LateImports().find_spec("onnxruntime", [str(tmp_path)])
    assert spec is not None
    assert spec.loader is not None
    package = module_from_spec(spec)
    spec.loader.exec_module(package)
    assert package.front_end is None
    monkeypatch.setitem(sys.modules, "onnxruntime", package)
    assert import_module("onnxruntime.training").front_end == "loads PyTorch"
    monkeypatch.delitem(sys.modules, "onnxruntime.training")
