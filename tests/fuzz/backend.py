"""The public models of ONNX's own backend tests, which the package `onnx` ships with inputs for them.

`node` are models of one operator, made when they are asked for; their weights are inputs, so that all float inputs but
the first are made weights here. The others lie in files; those from PyTorch are of operator set 6, which ONNX Runtime
does not run any more, and are there a second time, raised to 13.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
from onnx import numpy_helper, version_converter

FOLDER = Path(onnx.backend.test.__file__).parent / "data"
RAISED = {"pytorch-converted-13": "pytorch-converted", "pytorch-operator-13": "pytorch-operator"}
KINDS = ("light", "node", "pytorch-converted", *RAISED, "pytorch-operator", "simple")

Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class BackendModel:
    """A model, and sets of inputs for it by name; without any where the package has none."""

    name: str
    content: bytes
    inputs: tuple[Inputs, ...]


def backend_models(kind: str) -> Iterator[BackendModel]:
    """Yield the models of a kind, in the order of their names."""
    if kind == "node":
        yield from _node_models()
        return
    if kind in RAISED:
        for model in backend_models(RAISED[kind]):
            yield from _raised(model)
        return
    for file in sorted((FOLDER / kind).glob("*.onnx")):
        yield BackendModel(f"{kind}/{file.stem}", file.read_bytes(), (_ones(onnx.load(file)),))
    for folder in sorted((FOLDER / kind).glob("*/")):
        content = (folder / "model.onnx").read_bytes()
        graph = onnx.load_from_string(content).graph
        sets = tuple(_read_set(graph, each) for each in sorted(folder.glob("test_data_set_*")))
        yield BackendModel(f"{kind}/{folder.name}", content, sets)


def _raised(model: BackendModel) -> Iterator[BackendModel]:
    """Yield a model at operator set 13, if ONNX's converter can bring it there."""
    with contextlib.suppress(Exception):
        raised = version_converter.convert_version(onnx.load_from_string(model.content), 13)
        yield BackendModel(model.name.replace("/", "-13/"), raised.SerializeToString(), model.inputs)


def _node_models() -> Iterator[BackendModel]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    for case in sorted(cases, key=lambda each: each.name):
        names = [value.name for value in case.model.graph.input]
        given = [dict(zip(names, inputs, strict=False)) for inputs, _ in case.data_sets or ()]
        model, left = _with_weights(case.model, given[0] if given else {})
        yield BackendModel(
            f"node/{case.name}",
            model.SerializeToString(),
            tuple({key: each[key] for key in left} for each in given[:1]),
        )


def _with_weights(model: onnx.ModelProto, inputs: Inputs) -> tuple[onnx.ModelProto, list[str]]:
    """Return a model whose float inputs but the first are weights, with the names of the inputs that are left."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    floats = [name for name, value in inputs.items() if _is_weight(value)]
    frozen = set(floats[1:] if len(inputs) == len(floats) else floats)
    for value in [value for value in made.graph.input if value.name in frozen]:
        made.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(inputs[value.name]), value.name))
        made.graph.input.remove(value)
    return made, [name for name in inputs if name not in frozen]


def _is_weight(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype in (np.float16, np.float32, np.float64) and value.ndim > 0


def _read_set(graph: onnx.GraphProto, folder: Path) -> Inputs:
    weights = {tensor.name for tensor in graph.initializer}
    values = [value for value in graph.input if value.name not in weights]
    return {value.name: _read(folder / f"input_{number}.pb", value) for number, value in enumerate(values)}


def _read(file: Path, value: onnx.ValueInfoProto) -> Any:
    content = file.read_bytes()
    match value.type.WhichOneof("value"):
        case "sequence_type":
            return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
        case "optional_type":
            return numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
        case _:
            array = numpy_helper.to_array(onnx.TensorProto.FromString(content))
            return array.astype(str) if array.dtype == object else array


def _ones(model: onnx.ModelProto) -> Inputs:
    """Return ones for the float inputs of a model: the package has outputs alone for the large ones."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: np.ones([each.dim_value or 1 for each in value.type.tensor_type.shape.dim], np.float32)
        for value in model.graph.input
        if value.name not in weights
    }
