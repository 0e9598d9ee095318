"""Building a network with onnx-ir: named weights, named nodes, shapes inferred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from dtc.forms import Array
from dtc.graph.ir_version import PORTABLE_IR_VERSION

OPSET = 17
"""Old enough for every runtime in the field, new enough for the operators used here."""

Attribute: TypeAlias = int | float | str | Sequence[int]


class Net:
    """A graph under construction and the random numbers of its initial weights.

    Every layer is named; its weights are `<name>.weight` and `<name>.bias`. `domains` are those of operators beside
    ONNX's own, in version 1.
    """

    def __init__(self, name: str, seed: int, domains: Sequence[str] = ()) -> None:
        imports = {"": OPSET} | dict.fromkeys(domains, 1)
        self._graph = ir.Graph([], [], nodes=[], name=name, opset_imports=imports)
        self._tape = ir.tape.Tape(self._graph)
        self._rng = np.random.default_rng(seed)

    def input(self, name: str, dtype: ir.DataType, shape: Sequence[int | str]) -> ir.Value:
        """Add an input of the model."""
        value = ir.val(name, dtype=dtype, shape=shape)
        self._graph.inputs.append(value)
        return value

    def constant(self, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
        """Add an initializer."""
        return self.initializer(ir.tensor(array, name=name))

    def initializer(self, tensor: ir.TensorProtocol) -> ir.Value:
        """Add an initializer of the tensor's name, which may be one whose numbers are made when they are read."""
        return self._tape.initializer(tensor)

    def uniform(self, name: str, shape: Sequence[int], limit: float) -> ir.Value:
        """Add float32 weights drawn from U(-limit, limit)."""
        # U(0, 1) * 2 limit - limit, in place: an embedding of 10,000 x 1500 is not held twice.
        draws: Array = self._rng.random(tuple(shape), dtype=np.float32)
        draws *= np.float32(2 * limit)
        draws -= np.float32(limit)
        return self.constant(name, draws)

    def op(
        self, op_type: str, name: str, inputs: Sequence[ir.Value | None], *, domain: str = "", **attributes: Attribute
    ) -> ir.Value:
        """Add a node with one output; node and output are called `name`."""
        return self._tape.op(op_type, inputs, attributes, domain=domain, name=name, output=ir.val(name))

    def ops(
        self,
        op_type: str,
        name: str,
        inputs: Sequence[ir.Value | None],
        outputs: Sequence[str],
        *,
        domain: str = "",
        **attributes: Attribute,
    ) -> list[ir.Value]:
        """Add a node with several outputs, named one by one; one without a name is left out."""
        values = [ir.val(output) for output in outputs]
        return list(self._tape.op_multi_out(op_type, inputs, attributes, domain=domain, name=name, outputs=values))

    def linear(self, name: str, x: ir.Value, features: tuple[int, int]) -> ir.Value:
        """Add a fully connected layer, a Gemm: x `[N, in]`, features `(in, out)`.

        The weight is `[out, in]`, drawn by Glorot's rule; the bias is 0.
        """
        inner, outer = features
        weight = self.uniform(f"{name}.weight", (outer, inner), glorot(inner, outer))
        bias = self.constant(f"{name}.bias", np.zeros(outer, np.float32))
        return self.op("Gemm", name, [x, weight, bias], transB=1)

    def conv(
        self, name: str, x: ir.Value, shape: tuple[int, int, int], pad: int = 0, strides: tuple[int, int] = (1, 1)
    ) -> ir.Value:
        """Add a 2-D convolution: x `[N, in, H, W]`, shape `(in, out, side of the kernel)`."""
        inner, outer, side = shape
        # A number of the output sums inner * side^2 products; one of the input takes part in outer * side^2.
        limit = glorot(inner * side * side, outer * side * side)
        weight = self.uniform(f"{name}.weight", (outer, inner, side, side), limit)
        bias = self.constant(f"{name}.bias", np.zeros(outer, np.float32))
        return self.op("Conv", name, [x, weight, bias], kernel_shape=[side, side], pads=[pad] * 4, strides=strides)

    def max_pool(self, name: str, x: ir.Value) -> ir.Value:
        """Add a max pool of 2x2 that halves height and width."""
        return self.op("MaxPool", name, [x], kernel_shape=[2, 2], strides=[2, 2])

    def dropout(self, name: str, x: ir.Value, rate: float) -> ir.Value:
        """Add a Dropout node, idle in inference and active in training; at rate 0 return `x` without a node."""
        if rate == 0:
            return x
        return self.op("Dropout", name, [x, self.constant(f"{name}.ratio", np.array(rate, np.float32))])

    def model(self, outputs: dict[str, tuple[ir.Value, Sequence[int | str]]]) -> ir.Model:
        """Return the finished model; `outputs` gives each output its name and shape; float32 where it has no type."""
        for name, (value, shape) in outputs.items():
            # Renamed at last: the node keeps the layer's name, its output gets that of the model's output.
            value.name = name
            value.dtype = value.dtype or ir.DataType.FLOAT
            value.shape = ir.Shape(shape)
            self._graph.outputs.append(value)
        model = ir.Model(self._graph, ir_version=PORTABLE_IR_VERSION, producer_name="dtc")
        ShapeInferencePass()(model)
        return model


def glorot(inner: int, outer: int) -> float:
    """Return the limit of X. Glorot, Y. Bengio, 2010, equation (16)."""
    return float(np.sqrt(6 / (inner + outer)))
