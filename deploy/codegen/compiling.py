"""A model as calls of kernels: each node is compiled by what `operators` holds for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from dtc.deploy.codegen.constants import fold_constants, is_constant
from dtc.deploy.codegen.factors import Key, KnownProducts, key_of
from dtc.deploy.codegen.kernel_set import MICROCONTROLLER, KernelSet
from dtc.deploy.codegen.literals import identifiers
from dtc.deploy.codegen.program import C_TYPES, AnyArray, Argument, CProgram, KernelCall, Loop, Step, Tensor
from dtc.deploy.codegen.weights.low_rank import low_rank
from dtc.deploy.codegen.weights.stored import Matrix, StoredWeight
from dtc.errors import ModelError
from dtc.graph.opset import opset_of
from dtc.passes.prepare.known_sizes import static_shape

Compiler: TypeAlias = "Callable[[NodeCompiling], None]"
"""What compiles the nodes of an operator: it adds calls, and gives each output a tensor."""


KINDS = "there are float32, int64, int32 and bool"

PACKED = "export the model in float32; a compressed file is taken as --lower compute writes it"
"""What to do about a model that computes with integers, as nodes do that decode a few rows of a table at each run."""


class NodeCompiling:
    """A node that is being compiled: what it reads, and what the program gets of it.

    Attributes:
        node: The node.
        graph: What compiles the graph that it is in.
    """

    def __init__(self, node: ir.Node, graph: GraphCompiling) -> None:
        self.node, self.graph = node, graph

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return self.graph.opset

    def refuse(self, reason: str) -> ModelError:
        """Return the error that names the node and says why it cannot be compiled."""
        return ModelError(f"node {self.node.name or self.node.outputs[0].name!r} ({self.node.op_type}): {reason}")

    def has(self, index: int) -> bool:
        """True if an optional input is given."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def value(self, index: int) -> ir.Value:
        """Return an input.

        Raises:
            ModelError: It is not given.
        """
        value = self.node.inputs[index] if self.has(index) else None
        if value is None:
            raise self.refuse(f"input {index} is missing")
        return value

    def tensor(self, index: int) -> Tensor:
        """Return an input as a tensor, which may be constant."""
        return self.graph.tensor(self.value(index), self)

    def optional(self, index: int) -> Tensor | None:
        """Return an input as a tensor; None where it is not given."""
        return self.tensor(index) if self.has(index) else None

    def array(self, index: int) -> AnyArray | None:
        """Return the numbers of an input that is constant; None where it is not given, or not constant."""
        value = self.node.inputs[index] if self.has(index) else None
        return value.const_value.numpy() if value is not None and value.const_value is not None else None

    def constant(self, index: int, what: str) -> AnyArray:
        """Return the numbers of an input.

        Raises:
            ModelError: They are not constant; `what` says what they are.
        """
        array = self.array(index)
        if array is None or not is_constant(self.value(index)):
            raise self.refuse(f"{what} must be constant")
        return array

    def integers(self, index: int, attribute: str, what: str) -> list[int] | None:
        """Return integers that are an attribute in older opsets and an input in newer ones; None: neither is given."""
        if attribute in self.node.attributes:
            return list(self.node.attributes[attribute].as_ints())
        return [int(each) for each in self.constant(index, what).reshape(-1)] if self.has(index) else None

    def table(self, matrix: AnyArray) -> StoredWeight:
        """Return a weight `[out, in]` in the form that is smallest and has single rows; equal ones are stored once."""
        own = np.ascontiguousarray(matrix, np.float32)
        return self._table(own, key_of(own))

    def weight(self, matrix: AnyArray, parts: int = 1) -> StoredWeight:
        """Return a weight `[out, in]` in the form that is smallest: that of a table, or two factors.

        It may be `parts` weights, one below the other, of which calls take rows of one alone.
        """
        own = np.ascontiguousarray(matrix, np.float32)
        key = key_of(own)
        factors, name = self.graph.products.factors(key, parts), ("factors", parts, key)
        if factors is None or key in self.graph.weights:
            return self._table(own, key)
        if name not in self.graph.weights:
            whole, left, right = (self.graph.kernels.encode(each) for each in (own, *factors))
            smaller = left.nbytes + right.nbytes < whole.nbytes
            self.graph.weights[name] = low_rank(left, right, parts, self.graph.kernels.width) if smaller else whole
        return self.graph.weights[name]

    def _table(self, own: Matrix, key: Key) -> StoredWeight:
        if key not in self.graph.weights:
            self.graph.weights[key] = self.graph.kernels.encode(own)
        return self.graph.weights[key]

    def floats(self, array: AnyArray) -> Tensor:
        """Return numbers as a constant tensor."""
        numbers = np.ascontiguousarray(array, np.float32)
        return Tensor(f"{self.node.name}", "float", numbers.shape, array=numbers)

    def integers32(self, array: AnyArray) -> Tensor:
        """Return places as a constant tensor."""
        numbers = np.ascontiguousarray(array, np.int32)
        return Tensor(f"{self.node.name}", "int32_t", numbers.shape, array=numbers)

    def output(self, index: int = 0) -> Tensor:
        """Give an output memory of its own, and return it."""
        value = self.node.outputs[index]
        return self.give(self.memory(self.graph.shape(value, self), self.graph.ctype(value, self)), index)

    def writes(self, index: int) -> bool:
        """True if something reads an output."""
        value = self.node.outputs[index] if index < len(self.node.outputs) else None
        return value is not None and (bool(value.uses()) or value.is_graph_output())

    def give(self, tensor: Tensor, index: int = 0) -> Tensor:
        """Say which tensor an output is, and return it."""
        self.graph.values[self.node.outputs[index]] = tensor
        return tensor

    def memory(self, shape: Sequence[int], ctype: str = "float") -> Tensor:
        """Return memory for numbers."""
        return Tensor(str(self.node.outputs[0].name), ctype, tuple(shape))

    def like(self, source: Tensor, index: int = 0) -> Tensor:
        """Say that an output has the numbers of a tensor, in another shape."""
        shape = self.graph.shape(self.node.outputs[index], self)
        return self.give(Tensor(source.name, source.ctype, shape, base=source), index)

    def call(self, function: str, *arguments: Argument, over: Tensor | None = None, multiply_adds: int = 0) -> None:
        """Add a call of a kernel; its result may be written over the numbers of `over`."""
        told = self.node.name or str(self.node.outputs[0].name)
        self.graph.steps.append(KernelCall(function, arguments, told, over, multiply_adds))

    def expect_float(self, *tensors: Tensor) -> None:
        """Refuse what is not of floats.

        Raises:
            ModelError: A tensor is not.
        """
        for tensor in tensors:
            if tensor.ctype != "float":
                raise self.refuse(f"it computes with {tensor.ctype}, and only float32 is there")


class GraphCompiling:
    """A graph that is being compiled, or a body within one.

    Attributes:
        values: Tensors so far.
        steps: Calls so far.
        weights: Weights so far, of all graphs.
        kernels: Those that the program calls.
        products: Those among the constants that were computed of two factors.
        compilers: By operator.
        opset: Version of the standard operators.
        depth: How many loops are around it.
    """

    def __init__(
        self,
        compilers: dict[str, Compiler],
        values: dict[ir.Value, Tensor],
        weights: dict[object, StoredWeight],
        kernels: KernelSet,
        products: KnownProducts,
        opset: int,
        depth: int = 0,
    ) -> None:
        self.compilers, self.values, self.weights = compilers, values, weights
        self.kernels, self.products, self.opset, self.depth = kernels, products, opset, depth
        self.steps: list[Step] = []

    def compile(self, graph: ir.Graph) -> None:
        """Add the calls of all nodes of a graph.

        Raises:
            ModelError: There is an operator that the kernels do not have, or in a way that they do not have.
        """
        for node in graph:
            compiling = NodeCompiling(node, self)
            if node.domain not in ("", "ai.onnx") or node.op_type not in self.compilers:
                raise compiling.refuse(f"there is no kernel for operator {node.op_type}; {_mend(node)}")
            self.compilers[node.op_type](compiling)

    def within(self, variable: str, count: int) -> tuple[Loop, GraphCompiling]:
        """Return a loop, and what compiles its body."""
        loop = Loop(variable, count)
        shared = self.compilers, self.values, self.weights, self.kernels, self.products
        body = GraphCompiling(*shared, self.opset, self.depth + 1)
        body.steps = loop.body
        return loop, body

    def tensor(self, value: ir.Value, at: NodeCompiling) -> Tensor:
        """Return the tensor of a value."""
        if value not in self.values:
            if not is_constant(value) or value.const_value is None:
                raise at.refuse(f"its input {value.name!r} is not there")
            self.ctype(value, at)
            self.values[value] = _constant(value)
        return self.values[value]

    def shape(self, value: ir.Value, at: NodeCompiling) -> tuple[int, ...]:
        """Return the sizes of a value.

        Raises:
            ModelError: They depend on the numbers of an input, or hold nothing.
        """
        shape = static_shape(value)
        if shape is None:
            raise at.refuse(
                f"the shape of {value.name!r} depends on the numbers of an input, and memory is planned ahead"
            )
        if 0 in shape:
            raise at.refuse(f"{value.name!r} holds no numbers")
        return shape

    def ctype(self, value: ir.Value, at: NodeCompiling) -> str:
        """Return the type of numbers.

        Raises:
            ModelError: The kernels have none for it.
        """
        dtype = value.dtype or (value.const_value.dtype if value.const_value is not None else None)
        if dtype is None or dtype not in C_TYPES:
            told = "of an unknown type" if dtype is None else dtype.name
            mend = PACKED if dtype is not None and dtype.is_integer() else "export the model in float32"
            raise at.refuse(f"{value.name!r} is {told}; {KINDS}: {mend}")
        return C_TYPES[dtype]


def _mend(node: ir.Node) -> str:
    """Return what to do where there is no kernel for a node's operator."""
    if node.op_type == "If":
        return "fix the input that decides which branch is taken, by --input NAME=VALUE"
    return "export the model with those that docs/deploying.md lists, or take another target"


def compile_model(model: ir.Model, kernels: KernelSet = MICROCONTROLLER) -> CProgram:
    """Return a model whose inputs have known sizes as calls of kernels; the model itself stays as it is.

    Raises:
        ModelError: It has an operator that the kernels do not have, or in a way that they do not have; the message
            names the node.
    """
    from dtc.deploy.codegen.operators import compilers  # its modules import this one

    model = model.clone()
    products = fold_constants(model)
    compiling = GraphCompiling(compilers(), {}, {}, kernels, products, opset_of(model))
    names = identifiers("input", [str(value.name) for value in model.graph.inputs])
    inputs = [_parameter(value, name) for value, name in zip(model.graph.inputs, names, strict=True)]
    compiling.values.update(zip(model.graph.inputs, inputs, strict=True))
    compiling.compile(model.graph)
    names = identifiers("output", [str(value.name) for value in model.graph.outputs])
    outputs = [_delivered(compiling, value, name) for value, name in zip(model.graph.outputs, names, strict=True)]
    return CProgram(inputs, outputs, compiling.steps)


def _constant(value: ir.Value) -> Tensor:
    """Return a value that does not depend on the inputs as a tensor."""
    if value.const_value is None or value.const_value.dtype not in C_TYPES:
        told = "not there" if value.const_value is None else f"{value.const_value.dtype.name}; {KINDS}"
        raise ModelError(f"{value.name!r} is {told}")
    array = np.ascontiguousarray(value.const_value.numpy())
    return Tensor(str(value.name), C_TYPES[value.const_value.dtype], array.shape, array=array)


def _parameter(value: ir.Value, place: str) -> Tensor:
    shape, dtype = static_shape(value), value.dtype
    if shape is None or dtype is None or dtype not in C_TYPES:
        told = "of an unknown type" if dtype is None else f"{dtype.name} {value.shape}"
        raise ModelError(f"{value.name!r} is {told}; {KINDS}, of known sizes")
    return Tensor(str(value.name), C_TYPES[dtype], shape, place=place)


def _delivered(compiling: GraphCompiling, value: ir.Value, place: str) -> Tensor:
    """Return an output in the caller's memory: computed there where that can be, else copied."""
    tensor = compiling.values.get(value) or _constant(value)
    delivered = Tensor(str(value.name), tensor.ctype, tensor.shape, place=place)
    root = tensor.root
    if root.place or root.array is not None or root.size != tensor.size:
        size = f"{tensor.size} * sizeof *{place}"
        compiling.steps.append(KernelCall("memcpy", (delivered, tensor, size), f"output {value.name}"))
    else:
        root.place = delivered.place
    return delivered
