"""The `ort` engine: gradients by the training build of ONNX Runtime, parameters in NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.errors import EngineError, one_line
from dtc.forms import AnyArray, Array
from dtc.graph.signature import Arrays
from dtc.passes.prepare.batch_moments import Moments, measurable, statistics_of
from dtc.training.draws import draw_mask
from dtc.training.engine import Parameters, StepResult
from dtc.training.engine_settings import EngineSettings
from dtc.training.engines.ort.capability import examine
from dtc.training.engines.ort.conversion import must_convert
from dtc.training.engines.ort.evaluation_graph import EvaluationGraph
from dtc.training.engines.ort.gradient import GradientPlan, TrainingGraph, build_training_graph
from dtc.training.engines.ort.losses import LOSS
from dtc.training.engines.ort.prepare import prepare
from dtc.training.engines.ort.proof import ConversionProof
from dtc.training.engines.ort.runtime import load_runtime, open_session
from dtc.training.engines.ort.shapes import ShapeProbe
from dtc.training.engines.ort.trainable.embedding import TableGradient
from dtc.training.feeds import Supervision, inputs_of
from dtc.training.selection import scales_of_quantizers
from dtc.training.targets import LABELS, Kind


class OrtEngine:
    """Implements `dtc.training.engine.Engine` in a process whose `onnxruntime` is the training build.

    The model's graph is never changed: a training graph is derived from it for each sequence length, and the
    evaluation graph is the model itself. Both read the arrays in `parameters`. What distillation compares with is the
    output of `teacher` with its own weights; without one, of `model` as it was given.

    Raises:
        EngineError: The model cannot be trained; names the node.
    """

    def __init__(self, model: ir.Model, settings: EngineSettings, teacher: ir.Model | None = None) -> None:
        # 1. A copy in the form that the training build reads; everything below derives from it.
        load_runtime()
        self._objective, self._threads = objective, threads = settings.objective, settings.threads
        self._base = prepare(model)
        self._given = model if must_convert(model) else None
        self._supervision = Supervision(self._base.graph, objective, settings.distill)
        # `auto` is decided by the first batch; what can be differentiated does not depend on the loss that it becomes.
        guess: Kind = self._supervision.kind or "mse"
        # 2. What can be differentiated, found out by trying. The plan has no parameters and no lengths yet: the former
        #    come from the trials, the latter from the inputs of each step.
        norms = measurable(self._base.graph) if settings.batch_norm == "batch" else []
        by_batch = tuple(str(node.name) for node in norms)
        carry = tuple(objective.carry)
        self._plan = GradientPlan(guess, objective.output, self._rank(), carry, (), {}, by_batch, settings.delta)
        capability = examine(self._base, self._plan, settings.freeze)
        self._unrolled = capability.unrolled
        # 3. The arrays that are trained, copied out of the model: sessions are fed with them, and optimizers write into
        #    them.
        self._plan = replace(self._plan, parameters=capability.parameters, distills=settings.distill > 0)
        self.frozen: dict[str, str] = capability.frozen
        self.state: Parameters = {}
        self.parameters: Parameters = {name: self._initial(name) for name in capability.parameters}
        self.positive = frozenset(scales_of_quantizers(self._base.graph)) & self.parameters.keys()
        self.statistics: Parameters = {name: self._initial(name) for node in norms for name in statistics_of(node)}
        # 4. Graphs for what is not training. Shapes are asked of nodes whose training graph depends on them: the length
        #    of an unrolled sequence, the size of a mask.
        dropouts = [str(n.name) for n in self._base.graph if n.op_type == "Dropout" and n.domain == ""]
        self._probe = ShapeProbe(self._base, [*self._unrolled, *dropouts], threads)
        live = (*self.parameters, *self.statistics)
        self._evaluation = EvaluationGraph(self._base, objective.output, live, threads)
        self._teacher_model = teacher
        self._steps: dict[tuple[Any, ...], _Step] = {}
        self._gradients: dict[str, Array] = {}

    def prove(self, batches: Iterable[Arrays]) -> None:
        """Compare a model that had to be converted with what became of it; see `Engine.prove`.

        Raises:
            DataError: An input is missing or of the wrong type.
            EngineError: They differ; names the operators that the conversion changed.
        """
        if self._given is None:
            return
        proof, self._given = ConversionProof(self._given, self._base, self._threads), None
        for batch in batches:
            proof.check(self._inputs(batch))

    def step(self, batch: Arrays, *, seed: int) -> StepResult:
        """Run forward and backward in training mode; see `Engine.step`.

        Raises:
            DataError: An input or the labels are missing or of the wrong type.
            EngineError: ONNX Runtime refused to run the step.
        """
        inputs = self._inputs(batch)
        kind, told = self._told(batch, inputs)
        # A training graph is for one length of each unrolled node, which only the inputs tell.
        shapes = self._probe.shapes(inputs)
        lengths = {name: shapes[name][0] for name in self._unrolled}
        beside = self._supervision.beside(batch, lambda: self._teacher.scores(kind, inputs))
        step = self._step(kind, told[LABELS].ndim, lengths)
        return step.run({**inputs, **told, **beside, **step.masks(shapes, seed)}, self.parameters)

    def loss(self, batch: Arrays) -> tuple[float, dict[str, AnyArray]]:
        """Return the loss and the carried outputs in evaluation mode.

        Raises:
            DataError: An input or the labels are missing or of the wrong type.
        """
        inputs = self._inputs(batch)
        kind, told = self._told(batch, inputs)
        carry = tuple(self._objective.carry)
        return self._evaluation.loss(kind, told[LABELS].ndim, inputs, told, self._live(), carry)

    def moments(self, batch: Arrays) -> tuple[list[Moments], dict[str, AnyArray]]:
        """Return the moments of a batch and the carried outputs; see `Engine.moments`.

        Raises:
            DataError: An input is missing or of the wrong type.
        """
        if not self.statistics:
            return [], {}
        return self._evaluation.moments(self._inputs(batch), self._live(), tuple(self._objective.carry))

    def predict(self, inputs: Arrays) -> dict[str, AnyArray]:
        """Return all outputs of the model in evaluation mode.

        Raises:
            DataError: An input is missing or of the wrong type.
        """
        return self._evaluation.predict(self._inputs(inputs), self._live())

    def _live(self) -> Parameters:
        return {**self.parameters, **self.statistics}

    @cached_property
    def _teacher(self) -> EvaluationGraph:
        model = self._base if self._teacher_model is None else prepare(self._teacher_model)
        return EvaluationGraph(model, self._objective.output, (), self._threads)

    def _told(self, batch: Arrays, inputs: Arrays) -> tuple[Kind, dict[str, AnyArray]]:
        return self._supervision.of(batch, lambda: self._teacher.scores("distill", inputs))

    def _step(self, kind: Kind, rank: int, lengths: dict[str, int]) -> _Step:
        # One graph and session for each combination that occurs: batches of sequences of 35 and of 20 steps make two.
        # Buffers of gradients are shared among them.
        key = (kind, rank, tuple(lengths.items()))
        if key not in self._steps:
            plan = replace(self._plan, kind=kind, label_rank=rank, lengths=lengths)
            graph = build_training_graph(self._base, plan)
            self._steps[key] = _Step(graph, plan, self._gradients, self._threads)
        return self._steps[key]

    def _inputs(self, batch: Arrays) -> dict[str, AnyArray]:
        return inputs_of(self._base.graph, batch)

    def _initial(self, name: str) -> Array:
        tensor = self._base.graph.initializers[name].const_value
        assert tensor is not None
        return np.array(tensor.numpy(), dtype=np.float32, order="C")

    def _rank(self) -> int:
        name = self._objective.output
        value = next((v for v in self._base.graph.outputs if name in (None, v.name)), None)
        # Labels of [N, C, H, W] scores are [N, H, W], one rank less; [T, N, C] scores are flattened, and their labels
        # to a vector.
        rank = 2 if value is None or value.shape is None else len(value.shape)
        return rank - 1 if self._objective.loss == "cross-entropy" and rank > 3 else 1


class _Step:
    """One training graph, its session, and the buffers for the gradients."""

    def __init__(
        self, graph: TrainingGraph, plan: GradientPlan, buffers: dict[str, Array], threads: int | None
    ) -> None:
        self._graph, self._plan = graph, plan
        self._session = open_session(graph.model, threads)
        self._inputs = {value.name for value in self._session.get_inputs()}
        self._outputs = [value.name for value in self._session.get_outputs()]
        self._buffers = buffers
        self._tables: dict[str, TableGradient] = {}

    def masks(self, shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, AnyArray]:
        """Draw the dropout masks of a step."""
        return {
            dropout.mask: draw_mask(shapes[dropout.node], dropout.ratio, seed, index)
            for index, dropout in enumerate(self._graph.dropouts)
            if dropout.mask in self._inputs
        }

    def run(self, feeds: dict[str, AnyArray], parameters: Parameters) -> StepResult:
        """Run the session and sum up the gradients."""
        # A parameter is fed under each name that the graph reads it by: its own, and its aliases.
        feeds |= {name: parameters[source] for name, source in self._graph.sources.items()}
        found = self._run({name: array for name, array in feeds.items() if name in self._inputs}, parameters)
        outputs = {name: found[name] for name in self._plan.carry}
        return StepResult(float(found[LOSS]), self._sum(found, parameters), outputs)

    def _run(self, feeds: dict[str, AnyArray], parameters: Parameters) -> dict[str, AnyArray]:
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for name in self._outputs:
            source = self._graph.dense.get(name)
            # Gradients are written where they are summed up later; all else is the runtime's to allocate.
            if source is None:
                binding.bind_output(name, "cpu")
                continue
            # The recurrent weight [1, 4H, H] of an LSTM has its gradient as a product [4H, H] that is appended: the
            # same memory, read as a matrix.
            buffer = self._buffer(name, parameters[source].shape)
            shape = buffer.shape if name == f"{source}_grad" else (-1, buffer.shape[-1])  # appended ones are matrices
            binding.bind_output(name, "cpu", 0, np.float32, buffer.reshape(shape).shape, buffer.ctypes.data)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:
            raise EngineError(f"ONNX Runtime could not run the training step: {one_line(error)}") from error
        results = dict(zip(self._outputs, binding.get_outputs(), strict=True))
        return {
            name: self._buffers[name] if name in self._graph.dense else value.numpy() for name, value in results.items()
        }

    def _buffer(self, name: str, shape: tuple[int, ...]) -> Array:
        if name not in self._buffers:
            self._buffers[name] = np.empty(shape, dtype=np.float32)
        return self._buffers[name]

    def _sum(self, found: dict[str, AnyArray], parameters: Parameters) -> Parameters:
        # A weight that is read in two ways has a part for each. The first part is the engine's buffer itself; a sum of
        # several is a new array, so that no buffer is written over before the next run.
        gradients: Parameters = {}
        for output, source in self._graph.dense.items():
            part: npt.NDArray[Any] = found[output]
            gradients[source] = part if source not in gradients else gradients[source] + part
        self._add_lookups(found, parameters, gradients)
        # Nothing in this graph gives it a part (an LSTM over no steps, for one): its gradient is zero, not missing.
        for name in self._plan.parameters:
            if name not in gradients:
                gradients[name] = np.zeros_like(parameters[name])
        return {name: gradients[name] for name in self._plan.parameters}

    def _add_lookups(self, found: dict[str, AnyArray], parameters: Parameters, gradients: Parameters) -> None:
        for lookup in self._graph.lookups:
            # All tables are cleared before any row is added: several lookups may read one table.
            if lookup.table not in self._tables:
                self._tables[lookup.table] = TableGradient(parameters[lookup.table].shape)
            self._tables[lookup.table].clear()
        for lookup in self._graph.lookups:
            rows: npt.NDArray[Any] = found[f"{lookup.rows}_grad"]
            self._tables[lookup.table].add(found[f"{lookup.rows}::ids"], rows)
        for table, gradient in self._tables.items():
            gradients[table] = gradients[table] + gradient.array if table in gradients else gradient.array
