"""The model as it is, with live parameters: predictions, and losses without gradients."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from dtc.errors import DataError, one_line
from dtc.forms import AnyArray
from dtc.graph.builder import Shared
from dtc.graph.signature import Arrays
from dtc.passes.prepare.batch_moments import Exposed, Moments, use_batch_moments
from dtc.training.engine import Parameters
from dtc.training.engines.ort.dead_nodes import remove_dead_nodes
from dtc.training.engines.ort.losses import LOSS, SCORES, attach_loss
from dtc.training.engines.ort.runtime import open_session
from dtc.training.engines.ort.trainable.cross_entropy import expand_cross_entropy
from dtc.training.engines.ort.trainable.dropout import remove_dropout
from dtc.training.engines.ort.trainable.names import OwnerNames
from dtc.training.scores import scores_of
from dtc.training.targets import Kind

_MOMENTS = "moments"


class EvaluationGraph:
    """Sessions of the evaluation graph: the original nodes without dropout, parameters as graph inputs."""

    def __init__(self, base: ir.Model, output: str | None, parameters: tuple[str, ...], threads: int | None) -> None:
        self._output, self._threads = output, threads
        self._base = base.clone()
        remove_dropout(self._base)
        self._names = [str(value.name) for value in base.graph.outputs]
        self._parameters = parameters
        self._sessions: dict[tuple[Any, ...], Any] = {}
        self._exposed: list[Exposed] = []

    def predict(self, inputs: Arrays, parameters: Parameters) -> dict[str, AnyArray]:
        """Return all outputs of the model."""
        found = self._run(("predict",), inputs, parameters, self._names)
        return dict(zip(self._names, found, strict=True))

    def scores(self, kind: Kind, inputs: Arrays) -> AnyArray:
        """Return the scores that a loss reads: the output, or the input of a Softmax or Sigmoid that ends the model."""
        scores: AnyArray = self._run(("scores", kind), inputs, {}, [SCORES])[0]
        return scores

    def loss(
        self, kind: Kind, label_rank: int, inputs: Arrays, feeds: Arrays, parameters: Parameters, carry: tuple[str, ...]
    ) -> tuple[float, dict[str, AnyArray]]:
        """Return the loss and the carried outputs."""
        found = self._run((kind, label_rank), {**inputs, **feeds}, parameters, [LOSS, *carry])
        return float(found[0]), dict(zip(carry, found[1:], strict=True))

    def moments(
        self, inputs: Arrays, parameters: Parameters, carry: tuple[str, ...]
    ) -> tuple[list[Moments], dict[str, AnyArray]]:
        """Return the moments of each BatchNormalization, and the carried outputs."""
        found = self._run((_MOMENTS, *carry), inputs, parameters, None)
        # Outputs stand in the order of `_hand_out_moments`: what is carried, then mean, variance and shape of each
        # norm. `strict` is off because `carry` is the shorter one.
        carried = dict(zip(carry, found, strict=False))
        parts = iter(found[len(carry) :])
        return [exposed.moments(next(parts), next(parts), next(parts)) for exposed in self._exposed], carried

    def _run(self, key: tuple[Any, ...], feeds: Arrays, parameters: Parameters, outputs: list[str] | None) -> list[Any]:
        if key not in self._sessions:
            self._sessions[key] = open_session(self._graph(key), self._threads)
        session = self._sessions[key]
        wanted = {value.name for value in session.get_inputs()}
        fed = {name: array for name, array in {**feeds, **parameters}.items() if name in wanted}
        try:
            results: list[Any] = session.run(outputs, fed)
        except Exception as error:
            raise DataError(f"the model cannot be run on this batch: {one_line(error)}") from error
        return results

    def _graph(self, key: tuple[Any, ...]) -> ir.Model:
        model = self._base.clone()
        # 1. What distillation compares, under a name of its own: it may be an inner value, before the final Softmax.
        if key[0] == "scores":
            scores = scores_of(model, key[1], self._output)
            model.graph.append(named := ir.node("Identity", [scores]))
            named.outputs[0].name, named.outputs[0].type = SCORES, ir.TensorType(ir.DataType.FLOAT)
            model.graph.outputs.append(named.outputs[0])
        # 2. The moments of each norm, the network being normalised by them.
        elif key[0] == _MOMENTS:
            self._hand_out_moments(model, key[1:])
        # 3. A loss: the key is its kind and the rank of its labels. Left over is "predict", the model as it is.
        elif key[0] != "predict":
            attach_loss(model, key[0], self._output, key[1])
            expand_cross_entropy(model, Shared(model, OwnerNames))
            model.graph.outputs.append(next(v for n in model.graph for v in n.outputs if v.name == LOSS))
        # Live parameters are fed with every run: as constants they would be folded into the session.
        for name in self._parameters:
            value = model.graph.initializers.pop(name, None)
            if value is None:  # nothing reads it any more
                continue
            value.const_value = None
            model.graph.inputs.append(value)
        return model

    def _hand_out_moments(self, model: ir.Model, carry: tuple[str, ...]) -> None:
        """Make the carried outputs and the moments the only outputs of the graph; remove nodes that become unused."""
        self._exposed = use_batch_moments(model)
        carried = {value.name: value for value in model.graph.outputs}
        model.graph.outputs.clear()
        model.graph.outputs.extend(carried[name] for name in carry)
        model.graph.outputs.extend(value for exposed in self._exposed for value in exposed.values)
        remove_dead_nodes(model.graph)
