"""Second moments of what flows into a site, from running the model on samples in the installed ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.calibration.patches import patches
from dtc.data import Source
from dtc.evaluate import stateful
from dtc.forms import AnyArray
from dtc.graph import Reader, Role, Site, find_sites, load_model, save_model
from dtc.graph.signature import input_specs
from dtc.passes.prepare import normalise
from dtc.recipe import Objective
from dtc.session import runner, session

Gram = npt.NDArray[np.float64]

ENOUGH = 16
"""Rows for each input of a site: with fewer than a few, moments are rank-deficient and compensation does harm."""


@dataclass(frozen=True)
class Calibration:
    """Where second moments come from: a model file and samples.

    Attributes:
        path: The model.
        source: The samples.
        objective: How the state is carried from batch to batch.
        seed: Of the order of the samples.
    """

    path: Path
    source: Source
    objective: Objective
    seed: int

    def gram_of(self, site: Site, model: ir.Model) -> Callable[[], Gram] | None:
        """Return what computes `X^T X / n`, float64 `[count, in, in]`, of the inputs of a site of `model`.

        The model is run anew for each site, so that no more than one site's moments are held. None for sites in
        subgraphs, whose inputs are not seen, and for embeddings, which have none.
        """
        reader = site.readers[0]
        if reader.role not in _INPUTS or reader.node.graph is not model.graph:
            return None
        return lambda: self._gram(site.name)

    def _gram(self, name: str) -> Gram:
        model = load_model(self.path)
        normalise(model)
        site = next(site for site in find_sites(model) if site.name == name)
        reader = site.readers[0]
        watched = _watch(model, reader)
        total = np.zeros((site.view.count, site.view.cols, site.view.cols))
        count = 0
        for outputs in self._run(model):
            inputs = _INPUTS[reader.role](reader, [outputs[value] for value in watched])
            for matrix, rows in enumerate(inputs):
                wide = rows.reshape(-1, site.view.cols).astype(np.float64)
                total[matrix] += wide.T @ wide
            count += inputs[0].size // site.view.cols
            if count >= ENOUGH * site.view.cols:
                break
        return total / max(count, 1)

    def _run(self, model: ir.Model) -> Iterator[dict[str, AnyArray]]:
        specs = input_specs(model)
        with tempfile.TemporaryDirectory(prefix="dtc-") as folder:
            path = Path(folder) / "watched.onnx"
            save_model(model, path)
            batches = self.source.batches(epoch=0, seed=self.seed, shuffle=False)
            run = runner(session(path))
            for outputs, fed in stateful(run, batches, self.objective, specs):
                yield {**fed, **outputs}


def _watch(model: ir.Model, reader: Reader) -> list[str]:
    """Make what a node reads, and for a recurrent weight what it gives, outputs of the model; return their names."""
    node = reader.node
    wanted = [node.inputs[1 if reader.role is Role.MATMUL and reader.index == 0 else 0]]
    if reader.role in (Role.LSTM_RECURRENT, Role.GRU_RECURRENT):
        wanted = [node.outputs[0]]
        if len(node.inputs) > 5 and node.inputs[5] is not None:
            wanted.append(node.inputs[5])
    for value in wanted:
        assert value is not None, "a weight is read together with an activation"
        value.name = value.name or f"{reader.node_name}.watched"
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
        if value not in model.graph.outputs and value not in model.graph.inputs:
            model.graph.outputs.append(value)
    return [value.name or "" for value in wanted if value is not None]


def _of_matmul(reader: Reader, values: list[AnyArray]) -> list[AnyArray]:
    x = values[0]
    if reader.index == 0:
        x = np.swapaxes(x, -1, -2)
    if reader.view.count == 1:
        return [x]
    stacked = np.broadcast_to(x, np.broadcast_shapes(x.shape[:-2], _lead(reader)) + x.shape[-2:])
    per_matrix = stacked.reshape(-1, reader.view.count, *x.shape[-2:])
    return [per_matrix[:, matrix] for matrix in range(reader.view.count)]


def _of_gemm(reader: Reader, values: list[AnyArray]) -> list[AnyArray]:
    return [values[0].T if reader.node.attributes.get_int("transA", 0) else values[0]]


def _of_conv(reader: Reader, values: list[AnyArray]) -> list[AnyArray]:
    return patches(values[0], reader.node, _weight_shape(reader)[2:], groups=reader.view.count)


def _of_sequence(reader: Reader, values: list[AnyArray]) -> list[AnyArray]:
    return [values[0]] * reader.view.count


def _of_state(reader: Reader, values: list[AnyArray]) -> list[AnyArray]:
    """The state before each step: the output of the step before it, in the direction of reading."""
    outputs = values[0]  # [T, directions, N, H]
    start = values[1] if len(values) > 1 else np.zeros_like(outputs[0])
    direction = reader.node.attributes.get_string("direction", "forward")
    before = []
    for index in range(reader.view.count):
        first, own = start[index][None], outputs[:, index]
        backward = direction == "reverse" or index == 1
        before.append(np.concatenate([own[1:], first] if backward else [first, own[:-1]]))
    return before


_INPUTS: dict[Role, Callable[[Reader, list[AnyArray]], list[AnyArray]]] = {
    Role.MATMUL: _of_matmul,
    Role.GEMM: _of_gemm,
    Role.CONV: _of_conv,
    Role.LSTM_INPUT: _of_sequence,
    Role.GRU_INPUT: _of_sequence,
    Role.LSTM_RECURRENT: _of_state,
    Role.GRU_RECURRENT: _of_state,
}


def _weight_shape(reader: Reader) -> tuple[int, ...]:
    weight = reader.node.inputs[reader.index]
    assert weight is not None
    assert weight.shape is not None, "a weight has a static shape"
    return tuple(int(str(dim)) for dim in weight.shape)


def _lead(reader: Reader) -> tuple[int, ...]:
    return _weight_shape(reader)[:-2]
