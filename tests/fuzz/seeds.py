"""Small models of every kind that dtc reads: what is damaged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import numpy_helper, parser

_HEAD = '<ir_version: 8, opset_import: ["": 17]>\n'

_TEXTS: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "feedforward": (
        """m (float[N, 12] x) => (float[N, 4] y) {
             a = MatMul(x, W)  b = Add(a, c)  d = Relu(b)  y = Gemm<transB = 1>(d, V, e) }""",
        {"W": (12, 8), "c": (8,), "V": (4, 8), "e": (4,)},
    ),
    "convolution": (
        """m (float[1, 2, 6, 6] x) => (float[1, 4, 1, 1] y) {
             a = Conv<pads = [1, 1, 1, 1]>(x, K)  b = BatchNormalization(a, s, o, u, v)
             d = Transpose<perm = [1, 0, 2, 3]>(L)  f = Conv<group = 2>(b, d)  y = GlobalAveragePool(f) }""",
        {"K": (4, 2, 3, 3), "s": (4,), "o": (4,), "u": (4,), "v": (4,), "L": (2, 4, 1, 1)},
    ),
    "recurrent": (
        """m (int64[T, 1] t) => (float[T, 1, 1, 6] y) {
             x = Gather(E, t)  a, h = LSTM<hidden_size = 6>(x, W, R, B)
             q = Squeeze(a, axis)  y, k = GRU<hidden_size = 6>(q, U, S) }""",
        {"E": (9, 5), "W": (1, 24, 5), "R": (1, 24, 6), "B": (1, 48), "U": (1, 18, 6), "S": (1, 18, 6)},
    ),
    "branches": (
        """m (bool c, float[2, 6] x) => (float[2, 5] y) {
             y = If(c)<
               then_branch = g1 () => (float[2, 5] p) { p = MatMul(x, W) },
               else_branch = g2 () => (float[2, 5] q) { i = Identity(W)  q = MatMul(x, i) }> }""",
        {"W": (6, 5)},
    ),
}


def seeds() -> list[tuple[str, onnx.ModelProto]]:
    """Return the models by name, always the same ones."""
    found = [(name, _built(name)) for name in _TEXTS]
    for name, change in _VARIANTS.items():
        model = _built("feedforward")
        change(model)
        found.append((name, model))
    return found


def _built(name: str) -> onnx.ModelProto:
    text, weights = _TEXTS[name]
    dice = np.random.default_rng(len(name))
    model = parser.parse_model(_HEAD + text)
    for key, shape in weights.items():
        array = np.abs(dice.normal(size=shape)) if key == "v" else dice.normal(size=shape)
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), key))
    if name == "recurrent":
        model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    return model


def _as_constant(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer.pop(0)
    node = onnx.NodeProto(op_type="Constant", output=[weight.name])
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=weight)
    model.graph.node.insert(0, node)


def _as_sparse(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer.pop(0)
    array = numpy_helper.to_array(weight)
    places = np.flatnonzero(array > 0.5)
    model.graph.sparse_initializer.add(
        values=numpy_helper.from_array(array.ravel()[places], weight.name),
        indices=numpy_helper.from_array(places.astype(np.int64)),
        dims=array.shape,
    )


def _as_floats(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    values = numpy_helper.to_array(weight).ravel().tolist()
    weight.ClearField("raw_data")
    weight.float_data.extend(values)


def _as_input(model: onnx.ModelProto) -> None:
    model.ir_version = 3
    model.opset_import[0].version = 9
    for weight in model.graph.initializer:
        kind = onnx.helper.make_tensor_type_proto(weight.data_type, weight.dims)  # noqa: TID251 - a plain message
        model.graph.input.add(name=weight.name, type=kind)


def _in_function(model: onnx.ModelProto) -> None:
    function = model.functions.add(name="twice", domain="own", input=["a"], output=["b"])
    function.opset_import.add(domain="", version=17)
    function.node.add(op_type="Add", input=["a", "a"], output=["b"])
    model.opset_import.add(domain="own", version=1)
    model.graph.node[2].CopyFrom(onnx.NodeProto(op_type="twice", domain="own", input=["b"], output=["d"]))


_VARIANTS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "constant": _as_constant,
    "sparse": _as_sparse,
    "floats": _as_floats,
    "inputs": _as_input,
    "function": _in_function,
}
