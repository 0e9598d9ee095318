"""The loss of a model's quality when weights are replaced, which sensitivity methods ask for many times."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import numpy as np
import onnx_ir as ir

from dtc.ctc import log_likelihood
from dtc.data import Source
from dtc.evaluate import judged_output, stateful
from dtc.forms import AnyArray, Array
from dtc.graph import Site, all_graphs, save_model
from dtc.graph.signature import Arrays, TensorSpec, input_specs
from dtc.labels import PADDING
from dtc.metrics import Perplexity
from dtc.passes.method import Probe
from dtc.recipe import Objective
from dtc.sample_inputs import sample_inputs
from dtc.scratch import scratch_folder
from dtc.session import runner, session

PROBED_BATCHES = 16
_DRAWS = 8
_WORST = 1e6
"""Stands for the loss of a label that had no probability at all."""


def make_probe(
    model: ir.Model,
    sites: Sequence[Site],
    objective: Objective,
    *,
    source: Source | None,
    seed: int,
    fixed: Arrays,
) -> Probe:
    """Return a function from matrices by site, float32 `[count, out, in]`, to how much worse the model is with them.

    The model's own weights give 0. Where labels are class numbers the result is the rise of the cross-entropy, in nats,
    and where they are sequences of their negative log-likelihood a label. Else, on data or on generated inputs, it is
    the squared error of the judged output relative to its square. The weights of the sites are inputs of one session,
    so that no session is made anew; subgraphs read them from there.
    """
    # 1. One session for all questions: weights are among its inputs, as float32, whatever the model's own dtype is.
    own: Arrays = {site.name: site.array().astype(np.float32) for site in sites}
    by_name = {site.name: site for site in sites}
    run, specs = _open(model, sites)
    if source is not None:
        # 2. The same batches for every question; without data, inputs that the model was seen to accept.
        batches = list(islice(source.batches(epoch=0, seed=seed, shuffle=False), PROBED_BATCHES))
    else:
        batches = sample_inputs(model, lambda batch: run({**batch, **own}), count=_DRAWS, seed=seed, fixed=fixed)
    # 3. What the model loses is relative to itself with its own weights.
    judge = _judge(objective, batches, run, own, specs)
    base = judge(own)

    def probe(matrices: Mapping[str, Array]) -> float:
        replaced = {name: by_name[name].restore(stack) for name, stack in matrices.items()}
        return judge({**own, **replaced}) - base

    return probe


Run = Callable[[Arrays], dict[str, AnyArray]]


def _open(model: ir.Model, sites: Sequence[Site]) -> tuple[Run, tuple[TensorSpec, ...]]:
    """Return a function that runs the model with the sites' weights as inputs, and the specs of the other inputs."""
    specs = input_specs(model)
    clone = model.clone()
    owners = {name: graph for graph in all_graphs(clone) for name in graph.initializers}
    with scratch_folder() as folder:
        # Weights become inputs, in whichever graph they are: bodies read them from the main graph.
        for site in sites:
            weight = owners[site.name].initializers.pop(site.name)
            weight.const_value = None
            weight.type, weight.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(site.shape)
            clone.graph.inputs.append(weight)
        path = folder / "probed.onnx"
        save_model(clone, path)
        return runner(session(path, called="the model")), specs


def _judge(
    objective: Objective, batches: Sequence[Arrays], run: Run, own: Arrays, specs: Sequence[TensorSpec]
) -> Callable[[Arrays], float]:
    def outputs(weights: Arrays) -> list[AnyArray]:
        def with_weights(batch: Arrays) -> dict[str, AnyArray]:
            return run({**batch, **weights})

        return [judged_output(found, objective) for found, _ in stateful(with_weights, batches, objective, specs)]

    # Class numbers on all batches: their likelihood. It moves with every weight, where accuracy stays as it is until an
    # image crosses a border. Else the distance to the outputs of the model's own weights.
    labels = [batch.get(objective.labels) for batch in batches]
    if any(each is None or each.dtype.kind not in "iu" for each in labels):
        wanted = outputs(own)
        return lambda weights: _relative_error(wanted, outputs(weights))

    measure = _sequence_loss if objective.of_sequences else _cross_entropy
    known = [each for each in labels if each is not None]
    return lambda weights: min(measure(outputs(weights), known), _WORST)


def _cross_entropy(outputs: Sequence[AnyArray], labels: Sequence[AnyArray]) -> float:
    likelihood = Perplexity()
    for found, label in zip(outputs, labels, strict=True):
        likelihood.update(found, label)
    return math.log(likelihood.value())


def _sequence_loss(outputs: Sequence[AnyArray], labels: Sequence[AnyArray]) -> float:
    lost = -sum(float(log_likelihood(found, each).sum()) for found, each in zip(outputs, labels, strict=True))
    return lost / max(sum(int((each != PADDING).sum()) for each in labels), 1)


def _relative_error(wanted: list[AnyArray], found: list[AnyArray]) -> float:
    noise = sum(float(np.square(np.subtract(b, a, dtype=np.float64)).sum()) for a, b in zip(wanted, found, strict=True))
    signal = sum(float(np.square(a, dtype=np.float64).sum()) for a in wanted)
    return noise / signal if signal else noise
