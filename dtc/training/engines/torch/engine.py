"""The `torch` engine: gradients by autograd of torch.

On the CPU parameters are NumPy arrays, whose memory torch reads as it is; on another device they are tensors there.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes.common import InlinePass
from torch import Tensor

from dtc.cores import cores
from dtc.device_arrays import DeviceArray
from dtc.forms import AnyArray, Array
from dtc.graph.inference import infer_shapes
from dtc.graph.signature import Arrays
from dtc.passes.prepare.batch_moments import Moments, measurable, statistics_of
from dtc.training.engine import Live, Parameters, StepResult
from dtc.training.engine_settings import EngineSettings
from dtc.training.engines.torch.calls import Moment
from dtc.training.engines.torch.device import compute_alike, open_device
from dtc.training.engines.torch.dtypes import array_of, tensor_of
from dtc.training.engines.torch.gradient_paths import Obstacles, obstacles
from dtc.training.engines.torch.losses import distance_of, loss_of
from dtc.training.engines.torch.placement import HOST
from dtc.training.engines.torch.precision import Precision
from dtc.training.engines.torch.program import Program
from dtc.training.engines.torch.quantizers import hold_quantizers
from dtc.training.engines.torch.whole import WHOLE, Whole
from dtc.training.feeds import Supervision, inputs_of
from dtc.training.scores import scores_of
from dtc.training.selection import find_weights, nothing_left, refuse_half
from dtc.training.targets import Kind


class TorchEngine:
    """Implements `dtc.training.engine.Engine`.

    The model's graph runs node by node, as it was given. What distillation compares with is the output of `teacher`
    with its own weights; without one, of `model` as it was given.

    Raises:
        EngineError: The model cannot be trained; names the node.
    """

    def __init__(self, model: ir.Model, settings: EngineSettings, teacher: ir.Model | None = None) -> None:
        torch.set_num_threads(settings.threads or cores())
        compute_alike()
        self._device = open_device(settings.device, settings.precision)
        self._on_host = self._device == HOST
        self._precision = Precision(settings.precision, self._device)
        self.state: Parameters = self._precision.state
        # 1. A copy of the graph, because quantizers and functions are rewritten; weights are shared with the model.
        refuse_half(model, "torch")
        self._objective = objective = settings.objective
        self._model, scales = _prepared(model, settings.delta)
        graph = self._model.graph
        self._supervision = Supervision(graph, objective, settings.distill)
        # 2. What is trained: arrays that optimizers write into, and that torch reads as its tensors.
        scored = self._scored(self._supervision.kind or "mse")
        weights, self.frozen = _trainable({**_weights(graph), **scales}, obstacles(graph, scored), settings.freeze)
        if not weights:
            raise nothing_left(self.frozen)
        self.parameters: Live = {name: self._held(value) for name, value in weights.items()}
        self.positive = frozenset(scales) & self.parameters.keys()
        self._leaves = {value: _tensor(self.parameters[name]).requires_grad_() for name, value in weights.items()}
        # 3. What is measured instead of trained.
        norms = measurable(graph) if settings.batch_norm == "batch" else []
        self._norms = frozenset(norms)
        self.statistics: Live = {}
        self._live: dict[ir.Value, Tensor] = dict(self._leaves)
        for node in norms:
            for name in statistics_of(node):
                value = graph.initializers[name]
                self.statistics[name] = self._held(value)
                self._live[value] = _tensor(self.statistics[name])
        self._program = Program(self._model, list(self._live), self._device)
        self._teacher_model = model if teacher is None else teacher

    def prove(self, batches: Iterable[Arrays]) -> None:
        """Nothing is to be shown: the model runs as it was given."""

    def step(self, batch: Arrays, *, seed: int, whole: Whole = WHOLE) -> StepResult:
        """Run forward and backward in training mode; see `Engine.step`.

        Where the batch is a part of a larger one, the loss and the gradients are its summands of those of the whole.

        Raises:
            DataError: An input or the labels are missing, of the wrong type, or cannot be run.
            EngineError: Torch cannot compute a node at all.
        """
        moment = Moment(training=True, seed=seed, by_batch=self._norms, joint=whole.joint)
        carried = dict[str, AnyArray]()

        def loss_of_run() -> Tensor:
            nonlocal carried
            loss, carried = self._loss(batch, moment, whole)
            return loss

        loss, found = self._precision.gradients(loss_of_run, list(self._leaves.values()), whole.agreed)
        gradients = {
            str(value.name): self._given(torch.zeros_like(leaf) if gradient is None else gradient.contiguous())
            for (value, leaf), gradient in zip(self._leaves.items(), found, strict=True)
        }
        return StepResult(float(loss.detach()), gradients, carried)

    @torch.no_grad()
    def loss(self, batch: Arrays, *, whole: Whole = WHOLE) -> tuple[float, dict[str, AnyArray]]:
        """Return the loss and the carried outputs in evaluation mode; of a part of a batch, as `step` does.

        Raises:
            DataError: An input or the labels are missing, of the wrong type, or cannot be run.
        """
        loss, carried = self._loss(batch, Moment(), whole)
        return float(loss), carried

    @torch.no_grad()
    def moments(self, batch: Arrays) -> tuple[list[Moments], dict[str, AnyArray]]:
        """Return the moments of a batch and the carried outputs; see `Engine.moments`.

        Raises:
            DataError: An input is missing, of the wrong type, or cannot be run.
        """
        if not self.statistics:
            return [], {}
        moment = Moment(by_batch=self._norms, collected=[])
        carried = self._outputs(self._objective.carry)
        ends = [node.outputs[0] for node in self._model.graph if node in self._norms]
        found = self._program.run(self._known(batch), [*carried.values(), *ends], moment)
        assert moment.collected is not None
        own = [
            Moments(statistics_of(node), array_of(mean), array_of(variance), count)
            for node, mean, variance, count in moment.collected
        ]
        return own, {name: array_of(value) for name, value in zip(carried, found, strict=False)}

    @torch.no_grad()
    def predict(self, inputs: Arrays) -> dict[str, AnyArray]:
        """Return all outputs of the model in evaluation mode.

        Raises:
            DataError: An input is missing, of the wrong type, or cannot be run.
        """
        outputs = {str(value.name): value for value in self._model.graph.outputs}
        found = self._program.run(self._known(inputs), list(outputs.values()), Moment())
        return {name: array_of(value) for name, value in zip(outputs, found, strict=True)}

    def _loss(self, batch: Arrays, moment: Moment, whole: Whole) -> tuple[Tensor, dict[str, AnyArray]]:
        """Return the loss and the carried outputs of one run."""
        known = self._known(batch)
        carried, beside = self._outputs(self._objective.carry), dict[str, AnyArray]()
        # Half precision is for training alone, the teacher's included: what is evaluated is the model that will be
        # written.
        with self._precision.autocast() if moment.training else nullcontext():
            kind, feeds = self._supervision.of(batch, lambda: self._taught(batch, "distill"), whole.total_of)
            if moment.training:
                beside = self._supervision.beside(batch, lambda: self._taught(batch, kind), whole.total_of)
            scores, *states = self._program.run(known, [self._scored(kind), *carried.values()], moment)
        fed = {name: tensor_of(array).to(self._device) for name, array in {**feeds, **beside}.items()}
        loss = loss_of(kind, scores, fed)
        if beside:
            loss = loss + distance_of(scores, fed)
        return loss, {name: array_of(state) for name, state in zip(carried, states, strict=True)}

    def _known(self, batch: Arrays) -> dict[ir.Value, Any]:
        graph = self._model.graph
        given = inputs_of(graph, batch)
        return {**{value: tensor_of(given[str(value.name)]) for value in graph.inputs}, **self._live}

    def _scored(self, kind: Kind) -> ir.Value:
        return scores_of(self._model, kind, self._objective.output)

    def _outputs(self, names: Iterable[str]) -> dict[str, ir.Value]:
        return {str(value.name): value for value in self._model.graph.outputs if value.name in set(names)}

    def _taught(self, batch: Arrays, kind: Kind) -> AnyArray:
        model, program = self._teacher
        given = inputs_of(model.graph, batch)
        known = {value: tensor_of(given[str(value.name)]) for value in model.graph.inputs}
        with torch.no_grad():
            (scores,) = program.run(known, [scores_of(model, kind, self._objective.output)], Moment())
        return array_of(scores)

    @cached_property
    def _teacher(self) -> tuple[ir.Model, Program]:
        model, _ = _prepared(self._teacher_model, 0.0)
        return model, Program(model, [], self._device)

    def _held(self, value: ir.Value) -> DeviceArray:
        """Return the numbers of an initializer where they are trained."""
        array = _copied(value)
        return array if self._on_host else torch.from_numpy(array).to(self._device)

    def _given(self, gradient: Tensor) -> DeviceArray:
        return array_of(gradient) if self._on_host else gradient.detach()


def _tensor(held: DeviceArray) -> Tensor:
    """Return a tensor of the same memory."""
    return torch.from_numpy(held) if isinstance(held, np.ndarray) else held.detach()


def _prepared(model: ir.Model, delta: float) -> tuple[ir.Model, dict[str, ir.Value]]:
    """Return a copy without functions, whose quantizers have a gradient, and the scales of these."""
    copy = model.clone()
    InlinePass()(copy)
    # Whether a BatchNormalization sees one sample or a batch is told by shapes.
    infer_shapes(copy)
    return copy, {str(scale.name): scale for scale in hold_quantizers(copy.graph, delta)}


def _copied(value: ir.Value) -> Array:
    assert value.const_value is not None
    return np.array(value.const_value.numpy(), dtype=np.float32, order="C")


def _trainable(
    weights: dict[str, ir.Value], reached: Obstacles, freeze: Sequence[str]
) -> tuple[dict[str, ir.Value], dict[str, str]]:
    """Return the weights that a gradient reaches, and why it is not the others."""
    trained, frozen = {}, {}
    for name, value in weights.items():
        pattern = next((glob for glob in freeze if fnmatch.fnmatchcase(name, glob)), None)
        # The first reason that holds is told: what the user asked for, then what the graph is like.
        if pattern is not None:
            frozen[name] = f"frozen by the option {pattern!r}"
        elif value not in reached:
            frozen[name] = "the loss does not depend on it"
        elif (node := reached[value]) is not None:
            frozen[name] = f"lies before node {node.name!r}: {node.op_type} has no gradient"
        else:
            trained[name] = value
    return trained, frozen


def _weights(graph: ir.Graph) -> dict[str, ir.Value]:
    """Return the weights that nodes of a graph read, and those of the graphs inside of it, by name."""
    graphs = [graph, *graph.subgraphs()]
    # A body may read a weight of a graph around it.
    known = {name: value for each in graphs for name, value in each.initializers.items()}
    return {name: known[name] for each in graphs for name in find_weights(each) if name in known}
