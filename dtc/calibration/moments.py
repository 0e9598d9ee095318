"""Second moments of the inputs of a site, from running the model on samples in the installed ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.calibration.patches import patches, transposed_patches
from dtc.data import Source
from dtc.evaluate import stateful
from dtc.forms import AnyArray
from dtc.graph import INPUT_ROLES, RECURRENT_ROLES, Reader, Role, Site, save_model
from dtc.graph.einsum import Contraction, contraction, written
from dtc.graph.signature import input_specs
from dtc.passes.lower.readers import Multiplication
from dtc.recipe import Objective
from dtc.scratch import scratch_folder
from dtc.session import runner, session

Gram = npt.NDArray[np.float64]

ENOUGH = 16
"""Rows for each input of a site: with fewer than a few, moments are rank-deficient and compensation does harm."""


@dataclass(frozen=True)
class Calibration:
    """A model and samples, the source of second moments.

    Attributes:
        model: The model, normalised; it is cloned, and never changed.
        source: The samples.
        objective: How the state is carried from batch to batch.
        seed: Of the order of the samples.
    """

    model: ir.Model
    source: Source
    objective: Objective
    seed: int

    def gram_of(self, site: Site) -> Callable[[], Gram] | None:
        """Return a function that computes the second moments `X^T X / n` of a site's inputs, float64 `[count, in, in]`.

        The model is run anew for each site, so that no more than one site's moments are held. None for sites in
        subgraphs, whose inputs are not seen, and for embeddings, which have none.
        """
        reader = site.readers[0]
        if reader.role not in _INPUTS or reader.node.graph is not self.model.graph:
            return None
        return lambda: self._gram(site)

    def _gram(self, site: Site) -> Gram:
        reader, model = site.readers[0], self.model.clone()
        watched = _watch(model, replace(reader, node=self._cloned(reader.node, model)))
        total = np.zeros((site.view.count, site.view.cols, site.view.cols))
        count = 0
        for outputs in self._run(model):
            # One list entry for each matrix of the site, its last axis what the matrix is multiplied with.
            inputs = _INPUTS[reader.role](reader, [outputs[value] for value in watched])
            for matrix, rows in enumerate(inputs):
                # rows [..., in] as [n, in]; the sum of X^T X over batches, in float64, is that over all rows at once.
                wide = rows.reshape(-1, site.view.cols).astype(np.float64)
                total[matrix] += wide.T @ wide
            # All matrices of a site see as many rows, so those of the first are counted.
            count += inputs[0].size // site.view.cols
            if count >= ENOUGH * site.view.cols:
                break
        return total / max(count, 1)

    def _cloned(self, node: ir.Node, clone: ir.Model) -> ir.Node:
        """Return the node of a clone that stands where `node` does in the model."""
        return next(copy for own, copy in zip(self.model.graph, clone.graph, strict=True) if own is node)

    def _run(self, model: ir.Model) -> Iterator[dict[str, AnyArray]]:
        specs = input_specs(model)
        with scratch_folder() as folder:
            path = folder / "watched.onnx"
            save_model(model, path)
            batches = self.source.batches(epoch=0, seed=self.seed, shuffle=False)
            run = runner(session(path, called="the model"))
            for outputs, fed in stateful(run, batches, self.objective, specs):
                yield {**fed, **outputs}


def _watch(model: ir.Model, reader: Reader) -> list[str]:
    """Make outputs of the values that a weight is multiplied with; return the names of these values.

    They are inputs of the node, or for a recurrent weight its own outputs and the initial state.
    """
    node = reader.node
    # A product watches its other operands; a recurrent weight multiplies states, which are the node's own outputs.
    wanted = [node.inputs[0]]
    if reader.role in (Role.MATMUL, Role.GEMM, Role.EINSUM):
        factors = node.inputs if reader.role is Role.EINSUM else node.inputs[:2]
        wanted = [value for index, value in enumerate(factors) if index != reader.index]
    if reader.role in RECURRENT_ROLES:
        wanted = [node.outputs[0]]
        # The first step multiplies the initial state, which no output holds.
        if len(node.inputs) > 5 and node.inputs[5] is not None:
            wanted.append(node.inputs[5])
    for value in wanted:
        assert value is not None, "a weight is read together with an activation"
        value.name = value.name or f"{node.name}.watched"
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
        # What is an output already is not handed out twice; inputs are found among what was fed.
        if value not in model.graph.outputs and value not in model.graph.inputs:
            model.graph.outputs.append(value)
    return [value.name or "" for value in wanted if value is not None]


def _of_product(reader: Reader, values: list[AnyArray]) -> list[AnyArray]:
    """Return the other factor of a MatMul or Gemm for each matrix, `[..., n, in]`; a right factor is transposed."""
    product = Multiplication.of(reader)
    assert isinstance(product, Multiplication), "a MatMul or Gemm"
    # W x instead of x W, or x^T W: each column of x is an input then.
    x = np.swapaxes(values[0], -1, -2) if product.left != product.transposed and values[0].ndim > 1 else values[0]
    if reader.view.count == 1:
        return [x]
    # x [2, 1, n, in] with a weight [3, in, out] is multiplied as [2, 3, n, in]: matrix k has all of [:, k].
    stacked = np.broadcast_to(x, np.broadcast_shapes(x.shape[:-2], reader.shape[:-2]) + x.shape[-2:])
    per_matrix = stacked.reshape(-1, reader.view.count, *x.shape[-2:])
    return [per_matrix[:, matrix] for matrix in range(reader.view.count)]


def _of_einsum(reader: Reader, values: list[AnyArray]) -> list[AnyArray]:
    """Return the product of the other operands, `[n, in]` for each matrix."""
    found = contraction(reader.node, reader.index, len(reader.perm))
    assert isinstance(found, Contraction), "found as a site"
    rows = tuple(letter for letter in found.output if letter not in found.weight)
    equation = written(found.others, (*found.batch, *rows, *found.into))
    x = np.einsum(equation, *(value.astype(np.float64) for value in values))
    return list(x.reshape(reader.view.count, -1, reader.view.cols))


def _of_conv_transpose(reader: Reader, values: list[AnyArray]) -> list[AnyArray]:
    return transposed_patches(values[0], reader.node, reader.shape[2:], groups=reader.view.count)


def _of_conv(reader: Reader, values: list[AnyArray]) -> list[AnyArray]:
    return patches(values[0], reader.node, reader.shape[2:], groups=reader.view.count)


def _of_sequence(reader: Reader, values: list[AnyArray]) -> list[AnyArray]:
    return [values[0]] * reader.view.count


def _of_state(reader: Reader, values: list[AnyArray]) -> list[AnyArray]:
    """Return the state before each step, `[T, N, H]` for each direction: the output of the step read just before."""
    outputs = values[0]  # [T, directions, N, H]
    start = values[1] if len(values) > 1 else np.zeros_like(outputs[0])
    direction = reader.node.attributes.get_string("direction", "forward")
    # [T, directions, N, H]: forward, the state before step t is the output of t - 1; backward, that of t + 1.
    before = []
    for index in range(reader.view.count):
        first, own = start[index][None], outputs[:, index]
        # Of a bidirectional node, index 1 is the backward direction. For outputs h1 h2 h3 the states before the steps
        # are, in the order of the sequence, h0 h1 h2 forward and h2 h3 h0 backward.
        backward = direction == "reverse" or index == 1
        before.append(np.concatenate([own[1:], first] if backward else [first, own[:-1]]))
    return before


_INPUTS: dict[Role, Callable[[Reader, list[AnyArray]], list[AnyArray]]] = {
    Role.MATMUL: _of_product,
    Role.GEMM: _of_product,
    Role.EINSUM: _of_einsum,
    Role.CONV: _of_conv,
    Role.CONV_TRANSPOSE: _of_conv_transpose,
    **dict.fromkeys(INPUT_ROLES, _of_sequence),
    **dict.fromkeys(RECURRENT_ROLES, _of_state),
}
