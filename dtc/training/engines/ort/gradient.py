"""The training graph: loss, carried outputs and gradients, with the parameters as graph inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from dtc.graph import source_of
from dtc.graph.builder import Builder, GraphBuilder, Names, Shared
from dtc.training.engines.ort.dead_nodes import remove_dead_nodes
from dtc.training.engines.ort.losses import LOSS, attach_loss
from dtc.training.engines.ort.runtime import differentiate
from dtc.training.engines.ort.trainable.activation import expand_activations
from dtc.training.engines.ort.trainable.cross_entropy import expand_cross_entropy
from dtc.training.engines.ort.trainable.dropout import Dropout, mask_dropout
from dtc.training.engines.ort.trainable.einsum import expand_einsums
from dtc.training.engines.ort.trainable.embedding import EmbeddingLookup, alias_tables
from dtc.training.engines.ort.trainable.grouped import expand_grouped
from dtc.training.engines.ort.trainable.names import OwnerNames
from dtc.training.engines.ort.trainable.normalization import expand_batch_norms
from dtc.training.engines.ort.trainable.padding import make_padding_explicit
from dtc.training.engines.ort.trainable.poles import expand_roots
from dtc.training.engines.ort.trainable.quantization import expand_quantizers, hold_quantizers
from dtc.training.engines.ort.trainable.recurrent import Unrolled, unroll
from dtc.training.engines.ort.trainable.reversal import expand_reversals
from dtc.training.engines.ort.trainable.transposed import expand_transposed
from dtc.training.targets import Kind

UNROLLED = frozenset({"LSTM", "GRU", "RNN"})
"""The operators whose gradient goes through their steps."""


@dataclass(frozen=True)
class GradientPlan:
    """The specification of a training graph.

    Attributes:
        kind: The loss.
        output: The output that it reads; None for the first.
        label_rank: Rank of the labels.
        carry: Names of the outputs to hand out.
        parameters: Initializers to differentiate.
        lengths: Sequence length by name of the recurrent node to unroll.
        by_batch: Names of the BatchNormalizations that normalise with the moments of their batch.
        delta: How much the gradient of a rounded activation is scaled by what it was rounded by.
        distills: Whether the original's scores are learnt from beside the labels.
    """

    kind: Kind
    output: str | None
    label_rank: int
    carry: tuple[str, ...]
    parameters: tuple[str, ...]
    lengths: Mapping[str, int]
    by_batch: tuple[str, ...] = ()
    delta: float = 0.0
    distills: bool = False


@dataclass(frozen=True)
class TrainingGraph:
    """A graph with gradients and the meaning of its inputs and outputs.

    Attributes:
        model: Its first outputs are the loss and the carried outputs.
        sources: Parameter by name of the graph input that is fed with it.
        dropouts: The masks to feed.
        dense: Parameter by name of the output that is (a summand of) its gradient.
        lookups: Embeddings: outputs `<ids>::ids` and `<rows>_grad` make up the gradient of the table.
    """

    model: ir.Model
    sources: dict[str, str]
    dropouts: list[Dropout]
    dense: dict[str, str]
    lookups: list[EmbeddingLookup]


def build_training_graph(base: ir.Model, plan: GradientPlan) -> TrainingGraph:
    """Derive the training graph from the prepared model.

    Raises:
        EngineError: A node cannot be brought into a trainable form; names it.
        RuntimeError: A gradient is missing; see `capability`.
    """
    model = base.clone()
    shared = Shared(model, OwnerNames)
    # 1. Nodes that the training build has no gradient for, or a wrong one, become nodes that it has one for.
    aliases = _Aliases(model)
    dropouts = mask_dropout(model)
    make_padding_explicit(model)
    expand_transposed(model, shared)
    expand_grouped(model, shared)
    expand_einsums(model, shared)
    expand_reversals(model, shared)
    expand_batch_norms(model, shared, plan.by_batch)
    expand_activations(model, shared)
    expand_roots(model, shared)
    # 2. What is read through an alias is not differentiated by the builder: recurrent weights (one product a step),
    #    scales of quantizers and embedding tables get their gradients from those of other values, in 5.
    unrolled = _unroll(model, plan, aliases, shared)
    placeholders = hold_quantizers(model, set(plan.parameters), aliases.of)
    lookups = alias_tables(model, set(plan.parameters), aliases.of)
    # 3. The loss, with the parameters as inputs of the graph.
    attach_loss(model, plan.kind, plan.output, plan.label_rank, distills=plan.distills)
    _set_outputs(model, plan.carry)
    _parameters_to_inputs(model, plan.parameters)
    # 4. The gradients that the builder makes: of parameters that are read themselves, and of the values named in 2.
    direct = {name for name in plan.parameters if _input(model, name).uses()}
    wrt = direct | {lookup.rows for lookup in lookups}
    wrt |= {name for blocks in unrolled.values() for part in blocks for b in part.blocks for name in b.products}
    wrt |= {each.output for each in placeholders if each.scale is not None}
    differentiated = differentiate(model, wrt, LOSS)
    # 5. The gradients of the rest, and what the builder made that takes long.
    shared = Shared(differentiated, OwnerNames)
    expand_cross_entropy(differentiated, shared)
    scales = expand_quantizers(differentiated, placeholders, plan.delta, shared)
    return _collect(differentiated, base, plan, aliases.sources, dropouts, direct, unrolled, lookups, scales)


class _Aliases:
    """Further graph inputs that are fed with a parameter but not differentiated."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self.sources: dict[str, str] = {}

    def of(self, parameter: str) -> ir.Value:
        original = self._model.graph.initializers[parameter]
        alias = ir.Value(name=f"{parameter}::alias{len(self.sources)}", type=original.type, shape=original.shape)
        self._model.graph.inputs.append(alias)
        self.sources[str(alias.name)] = parameter
        return alias


def _unroll(model: ir.Model, plan: GradientPlan, aliases: _Aliases, shared: Shared) -> dict[str, list[Unrolled]]:
    """Unroll the recurrent nodes; return the blocks by the parameter that is their recurrent weight."""
    found: dict[str, list[Unrolled]] = {}
    for node in list(model.graph):
        if node.name is None or node.name not in plan.lengths:
            continue
        # The weight may come through an Identity. Where it is computed from others it has no parameter, and the builder
        # differentiates through the steps as through any other product.
        recurrent = source_of(node.inputs[2])
        parameter = recurrent.name if recurrent is not None and recurrent.name in plan.parameters else None
        if parameter is not None:
            node.replace_input_with(2, aliases.of(parameter))
        unrolled = unroll(node, plan.lengths[node.name], shared)
        # A node of no steps has no products, and adds nothing to the gradient.
        if parameter is not None and all(block.products for block in unrolled.blocks):
            found.setdefault(parameter, []).append(unrolled)
    return found


def _set_outputs(model: ir.Model, carry: tuple[str, ...]) -> None:
    # Other outputs would be computed for nothing in every step; without a reader their nodes go.
    by_name = {value.name: value for value in model.graph.outputs}
    loss = next(value for node in model.graph for value in node.outputs if value.name == LOSS)
    model.graph.outputs.clear()
    model.graph.outputs.extend([loss, *(by_name[name] for name in carry)])
    remove_dead_nodes(model.graph)


def _parameters_to_inputs(model: ir.Model, parameters: tuple[str, ...]) -> None:
    for name in parameters:
        value = model.graph.initializers.pop(name, None)
        if value is None:  # every reader goes through an alias
            continue
        value.const_value = None
        model.graph.inputs.append(value)


def _input(model: ir.Model, name: str) -> ir.Value:
    return next((value for value in model.graph.inputs if value.name == name), ir.Value(name=name))


def _collect(
    model: ir.Model,
    base: ir.Model,
    plan: GradientPlan,
    sources: dict[str, str],
    dropouts: list[Dropout],
    direct: set[str],
    unrolled: dict[str, list[Unrolled]],
    lookups: list[EmbeddingLookup],
    scales: dict[str, list[ir.Value]],
) -> TrainingGraph:
    """Append the products of the recurrent weights, and declare all outputs."""
    values = {str(value.name): value for node in model.graph for value in node.outputs}
    values |= {str(value.name): value for value in (*model.graph.inputs, *model.graph.initializers.values())}
    outputs = [values[LOSS], *(values[name] for name in plan.carry)]
    build = GraphBuilder(Names(model), "gradient")
    dense: dict[str, str] = {}
    # A parameter may have several summands: where it is read itself, as a scale, in each recurrent node, as a table.
    for name in sorted(direct):
        # 1. Read itself: the builder has made its gradient.
        dense[f"{name}_grad"] = name
        outputs.append(_typed(values[f"{name}_grad"], base.graph.initializers[name]))
    for name, parts in scales.items():
        # 2. A scale that several quantizers share has the sum of their gradients.
        total = parts[0] if len(parts) == 1 else build.op("Sum", parts)
        total.name = f"{name}_grad"
        dense[total.name] = name
        outputs.append(_typed(total, base.graph.initializers[name]))
    for parameter, nodes in unrolled.items():
        # 3. A recurrent weight: one product for each node that reads it; the engine sums these up.
        for index, node in enumerate(nodes):
            gradient = _recurrent_gradient(build, values, node, f"{parameter}::recurrent{index}")
            dense[str(gradient.name)] = parameter
            outputs.append(gradient)
    # The gradient of a table is mostly zeros: the graph hands out the rows that were read and their numbers.
    for lookup in lookups:
        ids = build.op("Identity", [values[lookup.ids]])
        ids.name = f"{lookup.rows}::ids"
        ids.type = _value(base, lookup.ids).type or ir.TensorType(ir.DataType.INT64)
        rows = values[f"{lookup.rows}_grad"]
        rows.type = ir.TensorType(ir.DataType.FLOAT)
        outputs += [ids, rows]
    model.graph.extend(build.nodes)
    model.graph.outputs.clear()
    model.graph.outputs.extend(outputs)
    sources = sources | {name: name for name in direct}
    return TrainingGraph(model, sources, dropouts, dense, lookups)


def _recurrent_gradient(build: Builder, values: dict[str, ir.Value], node: Unrolled, name: str) -> ir.Value:
    """Append dR = [dG_1; ..; dG_T]' [H_0; ..; H_T-1] for each block, the blocks one below the other."""
    # dG_t is [N, gates * H], H_t [N, H]; below each other over T steps they are [T N, gates * H] and [T N, H], and the
    # product with the first one transposed is [gates * H, H]. A GRU has two blocks: rows of z and r, rows of h.
    rows = []
    for block in node.blocks:
        gradients = build.op("Concat", [values[f"{p}_grad"] for p in block.products], axis=0)
        states = build.op("Concat", [values[s] for s in block.states], axis=0)
        rows.append(build.gemm(gradients, states, transA=1))
    joined = build.concat(rows, 0)
    joined.name, joined.type = name, ir.TensorType(ir.DataType.FLOAT)
    return joined


def _typed(value: ir.Value, like: ir.Value) -> ir.Value:
    value.type, value.shape = like.type, like.shape
    return value


def _value(model: ir.Model, name: str) -> ir.Value:
    every = (*model.graph.inputs, *(value for node in model.graph for value in node.outputs))
    return next((value for value in every if value.name == name), ir.Value(name=name))
