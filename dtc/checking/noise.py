"""Random operators held still: two models that draw the same noise can be compared, and differ by their weights alone.

ONNX Runtime makes one generator a node, and begins it anew in each session where the node has a seed. So every random
node is given one, the same in both models, and two fresh sessions that run the same inputs in turns draw the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir

from dtc.graph import load_model, save_model
from dtc.session import session

_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)


def is_random(model: ir.Model) -> bool:
    """True if a model gives other outputs each time that it is run."""
    return any(_draws(node) or _drops(node) for node in _nodes(model))


def still_session(path: Path, *, called: str | None = None, **settings: Any) -> Any:
    """Return a session of the model at `path` that draws the noise which any other new one of its kind draws.

    Of a Dropout in training mode nothing is dropped, as it is when a model is deployed. `called` and `settings` as for
    `dtc.session.session`.

    Raises:
        ModelError: The model cannot be loaded.
    """
    model = load_model(path)
    for number, node in enumerate(node for node in _nodes(model) if _draws(node)):
        node.attributes["seed"] = ir.AttrFloat32("seed", float(number + 1))
    for node in [node for node in _nodes(model) if _drops(node)]:
        node.replace_input_with(2, None)
    with tempfile.TemporaryDirectory(prefix="dtc-still-") as folder:
        copy = Path(folder) / "still.onnx"
        save_model(model, copy)
        return session(copy, called=called or str(path), **settings)


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def _draws(node: ir.Node) -> bool:
    return node.domain == "" and node.op_type in _RANDOM


def _drops(node: ir.Node) -> bool:
    """True for a Dropout whose third input, `training_mode`, is true or told by an input."""
    return node.domain == "" and node.op_type == "Dropout" and len(node.inputs) > 2 and not _is_false(node.inputs[2])


def _is_false(value: ir.Value | None) -> bool:
    if value is None:
        return True
    tensor = ir.convenience.get_const_tensor(value)
    return tensor is not None and not tensor.numpy().any()
