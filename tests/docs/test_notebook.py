"""The notebook of docs/ runs from its first cell to its last, and what cells end with shows as a table."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT


@pytest.mark.usefixtures("reader")
def test_the_cells_run_in_order() -> None:
    cells = json.loads(Path(ROOT, "docs", "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "notebook"}
    shown = [value for each in cells if each["cell_type"] == "code" and (value := run(each, names)) is not None]
    low_rank, found, labels = shown
    assert ">low_rank.onnx<" in low_rank._repr_html_()
    assert str(low_rank).splitlines()[0].startswith("low_rank.onnx: ")
    assert len(repr(low_rank)) < 200
    assert len(repr(found)) < 200
    assert found.report.missed is None
    assert found._repr_html_().count("<tr>") >= len(found.report.front) + 1
    assert labels.shape == (4,)


def run(cell: dict[str, Any], names: dict[str, Any]) -> Any:
    """Run a cell, and return what its last expression gives, as a notebook shows it."""
    *body, last = ast.parse("".join(cell["source"])).body
    assert isinstance(last, ast.Expr)
    exec(compile(ast.Module(body, []), "notebook", "exec"), names)
    return eval(compile(ast.Expression(last.value), "notebook", "eval"), names)
