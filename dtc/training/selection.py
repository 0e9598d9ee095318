"""The initializers that are weights, and the nodes through which the loss depends on each."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from dtc.errors import EngineError
from dtc.graph import find_quantizers

# Nodes that only rearrange a weight on its way to its reader.
_REARRANGING = frozenset(
    {"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Split", "Concat", "Flatten"}
)

# Inputs that are weights, by operator.
_WEIGHTS: dict[str, tuple[int, ...]] = {
    "MatMul": (0, 1),
    "Gemm": (0, 1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "DeformConv": (1, 3),
    "Einsum": (0, 1, 2, 3),
    "LSTM": (1, 2, 3, 5, 6, 7),
    "GRU": (1, 2, 3, 5),
    "RNN": (1, 2, 3, 5),
    "Gather": (0,),
    "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
}
_ELEMENTWISE = frozenset({"Add", "Mul", "Sub"})
_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, None})


def find_weights(graph: ir.Graph) -> list[str]:
    """Return the float32 initializers that are weights, biases or scales, in the order of their first reader.

    The scales of quantized activations are the last.

    A vector that is added or multiplied counts only behind another weight: what stands before the first weight
    normalises the input and is no parameter.
    """
    found: dict[str, None] = {}
    behind: set[ir.Value] = set()
    for node in graph:
        # 1. Inputs that are weights by the operator, seen through nodes that rearrange them.
        if node.domain == "":
            for index in _WEIGHTS.get(node.op_type, ()):
                if index < len(node.inputs):
                    found.update(dict.fromkeys(str(value.name) for value in _origins(node.inputs[index])))
            # 2. Vectors that are added or multiplied: y = x W + b as MatMul and Add, a learnt scale as Mul.
            if node.op_type in _ELEMENTWISE:
                found.update(dict.fromkeys(_vectors(node, behind)))
        # 3. What is computed from there on lies behind a weight. In (x - mean) * gain -> Conv -> + bias -> * scale,
        #    mean and gain stand before the first weight and are no parameters; bias and scale are.
        if node.op_type in _WEIGHTS or any(value in behind for value in node.inputs if value is not None):
            behind.update(node.outputs)
    return [*found, *scales_of_quantizers(graph)]


def scales_of_quantizers(graph: ir.Graph) -> list[str]:
    """Return the initializers that are scales of quantized activations."""
    return list(dict.fromkeys(str(each.scale.name) for each in find_quantizers(graph)))


def _origins(value: ir.Value | None) -> Iterator[ir.Value]:
    """Yield the float32 initializers, of one dimension or more, that a weight input is made of."""
    if value is None:
        return
    # 1. An initializer. Numbers of no dimension are constants of a formula, not weights.
    if value.is_initializer():
        tensor = value.const_value
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT and len(tensor.shape) and tensor.size:
            yield value
        return
    # 2. A node that rearranges: Transpose(W) is W still, and of a Concat every part counts.
    node = value.producer()
    if node is not None and node.domain == "" and node.op_type in _REARRANGING:
        for source in node.inputs if node.op_type == "Concat" else node.inputs[:1]:
            yield from _origins(source)


def _vectors(node: ir.Node, behind: set[ir.Value]) -> Iterator[str]:
    for operand, other in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        if other in behind and operand is not None and operand not in behind:
            for weight in _origins(operand):
                shape = weight.shape
                # A vector has one side above 1: [64], [1, 64, 1, 1]. A matrix that is added is taken for data, a mask
                # for one.
                if shape is not None and sum(int(str(d)) > 1 for d in shape) == 1:
                    yield str(weight.name)


class Paths:
    """The paths from values of the main graph to the value that the loss reads."""

    def __init__(self, graph: ir.Graph, target: ir.Value) -> None:
        self._nodes = list(graph)
        self._target = target
        self._rounded = {value for each in find_quantizers(graph) for value in each.integers}
        # Only nodes that the target depends on are readers: `downstream` then never walks into a branch that ends
        # elsewhere.
        reads = [list(_reads(node)) for node in self._nodes]
        self._readers: dict[ir.Value, list[int]] = {}
        for index in self._reaching(reads):
            for value in dict.fromkeys(reads[index]):
                self._readers.setdefault(value, []).append(index)

    def downstream(self, value: ir.Value) -> list[ir.Node]:
        """Return the nodes between `value` and the loss, in order; empty if the loss does not depend on it."""
        # A gradient flows through floats alone, and through the integers of a quantizer, which stand for floats.
        reached: set[ir.Value] = {value}
        passed: set[int] = set()
        waiting = [value]
        while waiting:
            for index in self._readers.get(waiting.pop(), ()):
                if index not in passed:
                    passed.add(index)
                    new = [v for v in self._nodes[index].outputs if v.dtype in _FLOATS or v in self._rounded]
                    reached.update(new)
                    waiting += new
        return [self._nodes[index] for index in sorted(passed)] if self._target in reached else []

    def _reaching(self, reads: list[list[ir.Value]]) -> list[int]:
        """Return which nodes the target depends on."""
        needed: set[ir.Value] = {self._target}
        found = []
        for index in reversed(range(len(self._nodes))):
            if any(value in needed for value in self._nodes[index].outputs):
                found.append(index)
                needed.update(reads[index])
        return found


def _reads(node: ir.Node) -> Iterator[ir.Value]:
    yield from (value for value in node.inputs if value is not None)
    for inner in _inner_nodes(node):
        yield from (value for value in inner.inputs if value is not None)


def _inner_nodes(node: ir.Node) -> Iterator[ir.Node]:
    for attribute in node.attributes.values():
        if isinstance(attribute, ir.Attr) and attribute.type == ir.AttributeType.GRAPH:
            yield from attribute.as_graph().all_nodes()


def nothing_left(frozen: dict[str, str]) -> EngineError:
    """Return the error of a model of which nothing can be trained; `frozen` has the reasons by weight."""
    if not frozen:
        return EngineError("the model has no float32 weights that could be trained")
    reasons = list(dict.fromkeys(frozen.values()))
    shown = "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
    return EngineError(f"nothing can be trained: {len(frozen)} weights are frozen ({shown})")


def refuse_half(model: ir.Model, engine: str) -> None:
    """Make sure that no weight is half a float wide.

    Raises:
        EngineError: One is; names it.
    """
    for value in model.graph.initializers.values():
        if value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16) and value.uses():
            raise EngineError(
                f"initializer {value.name!r} is {value.dtype.name.lower()}: the {engine} engine trains float32 models; "
                "retrain the float32 model and convert the result"
            )
