"""Reports for the tests of this folder: real compressions of models that are built here."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.graph import save_model
from dtc.job import Job
from dtc.pipeline import Compression, compress
from dtc.recipe import Recipe, Rule

HOSTILE = "<script>document.title='pwned'</script>\"'&"
METHODS: dict[str, dict[str, Any]] = {
    "svd": {"rank": 4},
    "prune": {"sparsity": 0.8},
    "binary": {"bits": 2},
    "codebook": {"codewords": 8},
}


def two_layers(path: Path, first: str = "first", second: str = "second") -> dict[str, Any]:
    """Write `y = x @ first [24, 40] @ second [40, 16]`; return the weights by name."""
    rng = np.random.default_rng(0)
    weights = {
        first: rng.normal(size=(24, 40)).astype(np.float32),
        second: rng.standard_t(3, size=(40, 16)).astype(np.float32),
    }
    values = [
        ir.Value(
            name=n, const_value=ir.tensor(w, name=n), shape=ir.Shape(w.shape), type=ir.TensorType(ir.DataType.FLOAT)
        )
        for n, w in weights.items()
    ]
    x = ir.val("x", ir.DataType.FLOAT, ("N", 24))
    one = ir.node("MatMul", [x, values[0]], name=first)
    two = ir.node("MatMul", [one.outputs[0], values[1]], name="two")
    one.outputs[0].name = "h"
    two.outputs[0].name, two.outputs[0].dtype, two.outputs[0].shape = "y", ir.DataType.FLOAT, ir.Shape(("N", 16))
    graph = ir.Graph([x], two.outputs, nodes=[one, two], initializers=values, opset_imports={"": 21}, name="net")
    save_model(ir.Model(graph, ir_version=10), path)
    return weights


def compressed(folder: Path, method: str, *, exclude: tuple[str, ...] = (), **names: str) -> tuple[Compression, Any]:
    """Compress the two layers with a report in `folder / "report"`; return what it gave and the weights."""
    weights = two_layers(folder / "net.onnx", **names)
    recipe = Recipe(rules=(Rule(method=method, options=METHODS[method], exclude=exclude),))
    job = Job(folder / "small.onnx", report=folder / "report")
    return compress(folder / "net.onnx", recipe, job), weights


def strict_json(path: Path) -> Any:
    """Parse JSON, refusing the NaN and Infinity that Python would take."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


class Page(HTMLParser):
    """A parsed page: its elements with their attributes, and its text without scripts and styles."""

    VOID = frozenset({"meta", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def count(self, tag: str) -> int:
        """Number of elements of a kind."""
        return sum(name == tag for name, _ in self.elements)

    def text(self) -> str:
        """All that a person reads."""
        return "".join(data for tag, data in self.texts if tag not in {"script", "style"})
