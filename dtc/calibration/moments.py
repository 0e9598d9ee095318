"""Second moments of the inputs of a site, from running the model on samples in the installed ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import onnx_ir as ir

from dtc.calibration.branches import open_branches
from dtc.calibration.patches import patches, transposed_patches
from dtc.data import Source
from dtc.evaluate import stateful
from dtc.formatting import size
from dtc.forms import AnyArray
from dtc.graph import INPUT_ROLES, RECURRENT_ROLES, Reader, Role, Site, all_nodes, save_model
from dtc.graph.einsum import Contraction, contraction, written
from dtc.graph.signature import input_specs
from dtc.passes.lower.readers import Multiplication, compute_type
from dtc.passes.method import Gram, Grams
from dtc.recipe import Objective
from dtc.scratch import scratch_folder
from dtc.session import runner, session

ENOUGH = 16
"""Rows for each input of a site: with fewer than a few, moments are rank-deficient and compensation does harm."""

_OVER_TIME = frozenset({"LSTM", "GRU", "RNN", "Scan", "Loop"})

SITE_LIMIT = 256 << 20
"""Bytes of the moments of one site, those of 5,792 inputs; solvers hold some four times as much beside them."""

HELD_LIMIT = 1 << 30
"""Bytes of moments that are held at a time: so many sites are measured in one pass over the samples."""


class Calibration:
    """The second moments `X^T X / n` of the inputs of sites, float64 `[count, in, in]`, measured when first asked for.

    One pass over the samples is for all sites whose moments fit into `held` bytes together, in the order of the sites;
    they are held until moments are asked for that another pass has to measure. A site whose own take more has a pass of
    its own.

    Attributes:
        refused: Why sites that are multiplied with something have no moments, by name.
    """

    def __init__(
        self,
        model: ir.Model,
        sites: Iterable[Site],
        source: Source,
        objective: Objective,
        *,
        seed: int,
        held: int = HELD_LIMIT,
    ) -> None:
        self.refused: dict[str, str] = {}
        self._model, self._sites = model, tuple(sites)
        self._source, self._objective, self._seed = source, objective, seed
        self._held: dict[str, Grams] = {}
        self._passes: list[list[Site]] = []
        room = 0
        for site in self._sites:
            # Rows of a table are looked up, and nothing is summed there: nobody asks for moments.
            if site.role is Role.EMBEDDING:
                continue
            if (reason := self._refuse(site)) is not None:
                self.refused[site.name] = reason
                continue
            # The next pass begins where the moments of the last one would no longer fit.
            if room < _nbytes(site) or not self._passes:
                room = held
                self._passes.append([])
            room -= _nbytes(site)
            self._passes[-1].append(site)

    @property
    def passes(self) -> tuple[int, ...]:
        """Bytes of the moments that each pass over the samples holds."""
        return tuple(sum(map(_nbytes, sites)) for sites in self._passes)

    def gram_of(self, site: Site) -> Gram:
        """Return a function that gives the moments of a site; None for sites that are refused."""
        return lambda: self._gram(site.name)

    def all_moments(self) -> Iterator[tuple[str, Grams]]:
        """Yield the names of all sites that have moments, with these, pass by pass."""
        for sites in self._passes:
            for site in sites:
                moments = self._gram(site.name)
                assert moments is not None, "it is in a pass"
                yield site.name, moments

    def _refuse(self, site: Site) -> str | None:
        reader = site.readers[0]
        if reader.role not in _INPUTS:
            return f"second moments of what {reader.role} multiplies are not measured"
        if self._seen(site) is None:
            return "its inputs are inside of a loop, or of a branch that samples may not take, where they are not seen"
        if _nbytes(site) > SITE_LIMIT:
            return f"the second moments of its {site.view.cols:,} inputs take more than {size(SITE_LIMIT)}"
        return None

    def _gram(self, name: str) -> Grams | None:
        if name not in self._held:
            sites = next((each for each in self._passes if any(site.name == name for site in each)), [])
            if sites:
                self._held = {}  # let go before others are measured
                self._held = self._measure(sites)
        return self._held.get(name)

    @cached_property
    def _opened(self) -> _Opened:
        """The model, or a copy in whose main graph those branches are that samples take."""
        model = self._model
        if all(reader.node.graph is model.graph for site in self._sites for reader in site.readers):
            return _Opened(model, {node: node for node in model.graph})
        copy = model.clone()
        nodes = dict(zip(all_nodes(model), all_nodes(copy), strict=True))
        open_branches(copy, self._run)
        return _Opened(copy, nodes)

    def _seen(self, site: Site) -> Reader | None:
        """Return the first reader of a site whose inputs can be seen, as it is in the opened model."""
        opened = self._opened
        readers = (replace(each, node=opened.nodes[each.node]) for each in site.readers if each.role in _INPUTS)
        return next((reader for reader in readers if reader.node.graph is opened.model.graph), None)

    def _measure(self, sites: Sequence[Site]) -> dict[str, Grams]:
        opened = self._opened.model
        model = opened.clone()
        own = dict(zip(opened.graph, model.graph, strict=True))
        sums = []
        for site in sites:
            reader = self._seen(site)
            assert reader is not None, "sites that cannot be seen are refused"
            sums.append(_Sum(site, reader, _watch(model, replace(reader, node=own[reader.node]))))
        for values in self._run(model):
            for each in sums:
                each.add(values)
            if all(each.is_enough for each in sums):
                break
        return {each.site.name: each.moments() for each in sums}

    def _run(self, model: ir.Model) -> Iterator[dict[str, AnyArray]]:
        specs = input_specs(model)
        with scratch_folder() as folder:
            path = folder / "watched.onnx"
            save_model(model, path)
            # Drawn at random, as the first samples may well be all of one class; but in order where state is carried,
            # or where the first dimension of the arrays may be time.
            in_order = self._objective.carry or any(node.op_type in _OVER_TIME for node in all_nodes(model))
            batches = self._source.batches(epoch=0, seed=self._seed, shuffle=not in_order)
            run = runner(session(path, called="the model"))
            for outputs, fed in stateful(run, batches, self._objective, specs):
                yield {**fed, **outputs}


@dataclass(frozen=True, eq=False)
class _Opened:
    """A model to watch, and where each node of the model that was given is in it."""

    model: ir.Model
    nodes: Mapping[ir.Node, ir.Node]


class _Sum:
    """The sum of `X^T X` of one site over batches."""

    def __init__(self, site: Site, reader: Reader, watched: Sequence[str]) -> None:
        self.site = site
        self._reader, self._watched = reader, watched
        self._total = np.zeros((site.view.count, site.view.cols, site.view.cols))
        self._rows = 0

    @property
    def is_enough(self) -> bool:
        """True once there were `ENOUGH` rows for each input."""
        return self._rows >= ENOUGH * self.site.view.cols

    def add(self, values: Mapping[str, AnyArray]) -> None:
        """Take in a batch, unless there was enough before it."""
        if self.is_enough:
            return
        reader, cols = self._reader, self.site.view.cols
        # One list entry for each matrix of the site, its last axis what the matrix is multiplied with.
        inputs = _INPUTS[reader.role](reader, [values[name] for name in self._watched])
        for matrix, rows in enumerate(inputs):
            # rows [..., in] as [n, in]; the sum of X^T X over batches, in float64, is that over all rows at once.
            wide = rows.reshape(-1, cols).astype(np.float64)
            self._total[matrix] += wide.T @ wide
        # All matrices of a site see as many rows, so those of the first are counted.
        self._rows += inputs[0].size // cols

    def moments(self) -> Grams:
        """Return the mean over all rows."""
        self._total /= max(self._rows, 1)
        return self._total


def _nbytes(site: Site) -> int:
    return 8 * site.view.count * site.view.cols**2


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
        value.type = value.type or ir.TensorType(compute_type(reader))
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
