"""Small models of every kind that dtc reads: what is damaged.

Weights are large enough for every method to gain by them, so that a model that is still whole goes all the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper, parser

Shapes = Mapping[str, tuple[int, ...]]

_FEEDFORWARD = """m (float[N, 32] x) => (float[N, 16] y) {
    a = MatMul(x, W)  b = Add(a, c)  d = Relu(b)  y = Gemm<transB = 1>(d, V, e) }"""
_WEIGHTS: Shapes = {"W": (32, 64), "c": (64,), "V": (16, 64), "e": (16,)}

_TEXTS: dict[str, tuple[str, Shapes]] = {
    "feedforward": (_FEEDFORWARD, _WEIGHTS),
    "convolution": (
        """m (float[1, 8, 6, 6] x) => (float[1, 32, 1, 1] y) {
             a = Conv<pads = [1, 1, 1, 1]>(x, K)  b = BatchNormalization(a, s, o, u, v)
             d = Transpose<perm = [1, 0, 2, 3]>(L)  f = Conv<group = 2>(b, d)  g = ConvTranspose(f, M)
             y = GlobalAveragePool(g) }""",
        {"K": (16, 8, 3, 3), "s": (16,), "o": (16,), "u": (16,), "v": (16,), "L": (8, 32, 1, 1), "M": (32, 32, 2, 2)},
    ),
    "recurrent": (
        """m (int64[T, 1] t) => (float[T, 1, 1, 16] y) {
             x = Gather(E, t)  a, h = LSTM<hidden_size = 16>(x, W, R, B)  q = Squeeze(a, axis)
             r, g = RNN<hidden_size = 16>(q, P, Q)  z = Squeeze(r, axis)  y, k = GRU<hidden_size = 16>(z, U, S) }""",
        {
            "E": (40, 16),
            "W": (1, 64, 16),
            "R": (1, 64, 16),
            "B": (1, 128),
            "P": (1, 16, 16),
            "Q": (1, 16, 16),
            "U": (1, 48, 16),
            "S": (1, 48, 16),
        },
    ),
    "branches": (
        """m (bool c, float[2, 32] x) => (float[2, 48] y) {
             y = If(c)<
               then_branch = g1 () => (float[2, 48] p) { p = MatMul(x, W) },
               else_branch = g2 () => (float[2, 48] q) { i = Identity(W)  q = MatMul(x, i) }> }""",
        {"W": (32, 48)},
    ),
    "loop": (
        """m (float[2, 32] x) => (float[2, 32] y, float[3, 2, 32] z) {
             n = Constant<value = int64 {3}>()  go = Constant<value = bool {1}>()
             y, z = Loop(n, go, x)<
               body = g (int64 i, bool go_in, float[2, 32] s) => (bool go_out, float[2, 32] t, float[2, 32] u) {
                 go_out = Identity(go_in)  t = MatMul(s, W)  u = Tanh(t) }> }""",
        {"W": (32, 32)},
    ),
    "scan": (
        """m (float[4, 32] x, float[32] h) => (float[32] y, float[4, 32] z) {
             y, z = Scan<num_scan_inputs = 1, body = g (float[32] s, float[32] v) => (float[32] t, float[32] u) {
                 a = MatMul(v, W)  t = Add(a, s)  u = Relu(t) }>(h, x) }""",
        {"W": (32, 32)},
    ),
    "sequence": (
        """m (float[2, 32] x) => (seq(float[2, 24]) s, float[2, 48] y) {
             y = MatMul(x, W)  s = SplitToSequence<axis = 1>(y, half) }""",
        {"W": (32, 48)},
    ),
    "optional": (
        """m (optional(float[2, 32]) o, string[2] w) => (float[2, 48] y, string[2] u) {
             x = OptionalGetElement(o)  y = MatMul(x, W)  u = Identity(w) }""",
        {"W": (32, 48)},
    ),
    "random": (
        """m (float[2, 32] x) => (float[2, 48] y) {
             a = MatMul(x, W)  n = RandomNormalLike(a)  b = Mul(n, c)  y = Add(a, b) }""",
        {"W": (32, 48), "c": (48,)},
    ),
    "roundabout": (
        """m (float[2, 32] x, int64[3] i) => (float[2, 16] y, float[2, 40] z, float[3, 2, 24] g) {
             p, q = Split<axis = 1>(W, parts)  a = MatMul(x, p)  c = Mul(V, s)  y = Gemm(a, c)
             z = Einsum<equation = "bi,io->bo">(x, D)  g = Gather(E, i) }""",
        {"W": (32, 64), "V": (48, 16), "s": (1,), "D": (32, 40), "E": (12, 2, 24)},
    ),
    "tied": (
        """m (int64[2, 3] t) => (float[2, 3, 40] y) {
             x = Gather(E, t)  w = Transpose<perm = [1, 0]>(E)  y = MatMul(x, w) }""",
        {"E": (40, 24)},
    ),
    "quantized": (
        """m (float[2, 32] x) => (float[2, 48] y) {
             a = QuantizeLinear(x, s, z)  b = DequantizeLinear(a, s, z)
             w = DequantizeLinear(C, s, k)  d = MatMul(b, w)  y = MatMul(d, W) }""",
        {"W": (48, 48)},
    ),
}

_EXTRA: dict[str, dict[str, np.ndarray]] = {  # constants that are not normally distributed
    "recurrent": {"axis": np.array([1])},
    "sequence": {"half": np.array([24, 24])},
    "roundabout": {"parts": np.array([48, 16])},
    "quantized": {
        "s": np.array(0.02, np.float32),
        "z": np.array(128, np.uint8),
        "C": np.arange(32 * 48).reshape(32, 48).astype(np.int8),
        "k": np.array(0, np.int8),
    },
}


@cache
def seeds() -> Mapping[str, onnx.ModelProto]:
    """Return the models by name, always the same ones."""
    found = {name: _built(name) for name in _TEXTS}
    for name, change in _VARIANTS.items():
        model = _built("feedforward")
        change(model)
        found[name] = model
    return found


def _built(name: str) -> onnx.ModelProto:
    text, weights = _TEXTS[name]
    dice = np.random.default_rng(len(name))
    model = parser.parse_model('<ir_version: 8, opset_import: ["": 17]>\n' + text)
    for key, shape in weights.items():
        array = np.abs(dice.normal(size=shape)) if key == "v" else dice.normal(size=shape)
        model.graph.initializer.append(numpy_helper.from_array((array / 4).astype(np.float32), key))
    for key, array in _EXTRA.get(name, {}).items():
        model.graph.initializer.append(numpy_helper.from_array(array, key))
    return model


def _as_constant(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer.pop(0)
    node = onnx.NodeProto(op_type="Constant", output=[weight.name])
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=weight)
    model.graph.node.insert(0, node)


def _as_sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.append(_sparse(model.graph.initializer.pop(0)))


def _as_sparse_constant(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer.pop(0)
    node = onnx.NodeProto(op_type="Constant", output=[weight.name])
    node.attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR, sparse_tensor=_sparse(weight))
    model.graph.node.insert(0, node)


def _sparse(weight: onnx.TensorProto) -> onnx.SparseTensorProto:
    array = numpy_helper.to_array(weight)
    places = np.flatnonzero(array > 0.2)
    return onnx.SparseTensorProto(
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
    """Put the last layer with its weights into a function, which another one calls."""
    inner = model.functions.add(name="last", domain="own", input=["a"], output=["b"], attribute=["alpha"])
    inner.opset_import.add(domain="", version=17)
    for weight in (model.graph.initializer.pop(2), model.graph.initializer.pop(2)):
        node = inner.node.add(op_type="Constant", output=[weight.name])
        node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=weight)
    gemm = inner.node.add(op_type="Gemm", input=["a", "V", "e"], output=["b"])
    gemm.attribute.add(name="transB", i=1, type=onnx.AttributeProto.INT)
    gemm.attribute.add(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    outer = model.functions.add(name="outer", domain="own", input=["a"], output=["b"])
    outer.opset_import.add(domain="", version=17)
    outer.opset_import.add(domain="own", version=1)
    call = outer.node.add(op_type="last", domain="own", input=["a"], output=["b"])
    call.attribute.add(name="alpha", f=0.5, type=onnx.AttributeProto.FLOAT)
    model.opset_import.add(domain="own", version=1)
    model.graph.node[3].CopyFrom(onnx.NodeProto(op_type="outer", domain="own", input=["d"], output=["y"]))


def _with_maps(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="ai.onnx.ml", version=1)
    node = model.graph.node.add(op_type="ZipMap", domain="ai.onnx.ml", input=["y"], output=["m"])
    node.attribute.add(name="classlabels_int64s", ints=range(16), type=onnx.AttributeProto.INTS)
    value = model.graph.output.add(name="m").type.sequence_type.elem_type.map_type
    value.key_type = TensorProto.INT64
    value.value_type.tensor_type.elem_type = TensorProto.FLOAT
    model.graph.output[1].type.sequence_type.elem_type.map_type.value_type.tensor_type.shape.SetInParent()


def _fused(model: onnx.ModelProto) -> None:
    """Write operators of ONNX Runtime's own optimizer."""
    model.opset_import.add(domain="com.microsoft", version=1)
    for number, name in ((0, "FusedMatMul"), (3, "FusedGemm")):
        model.graph.node[number].op_type, model.graph.node[number].domain = name, "com.microsoft"
    model.graph.node[3].attribute.add(name="activation", s=b"Relu", type=onnx.AttributeProto.STRING)


def _telling(model: onnx.ModelProto) -> None:
    """Add all that a model may say beside its graph."""
    model.producer_name, model.producer_version, model.domain = "p", "1", "d"
    model.doc_string, model.model_version = "\x1b[31mtold", 3
    model.metadata_props.add(key="classes", value="a,b")
    for number, node in enumerate(model.graph.node):
        node.name, node.doc_string = f"layer/{number}:\x1b[2J", "node"
        node.metadata_props.add(key="k", value=str(number))
    model.graph.value_info.add(name="b").type.tensor_type.elem_type = TensorProto.FLOAT
    annotation = model.graph.quantization_annotation.add(tensor_name="W")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="c")


def _of_type(dtype: int) -> Callable[[onnx.ModelProto], None]:
    """Return what stores the first weight in another type, with a Cast behind it where a MatMul cannot read that."""

    def change(model: onnx.ModelProto) -> None:
        model.ir_version, model.opset_import[0].version = 10, 21
        weight = model.graph.initializer[0]
        array = numpy_helper.to_array(weight).astype(onnx.helper.tensor_dtype_to_np_dtype(dtype))  # noqa: TID251
        weight.CopyFrom(numpy_helper.from_array(array, "W0"))
        weight.data_type = dtype
        node = onnx.NodeProto(op_type="Cast", input=["W0"], output=["W"])
        node.attribute.add(name="to", i=TensorProto.FLOAT, type=onnx.AttributeProto.INT)
        model.graph.node.insert(0, node)

    return change


def _of_opset(version: int, ir_version: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version, model.ir_version = version, ir_version

    return change


_VARIANTS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "constant": _as_constant,
    "sparse": _as_sparse,
    "sparse-constant": _as_sparse_constant,
    "floats": _as_floats,
    "inputs": _as_input,
    "function": _in_function,
    "maps": _with_maps,
    "fused": _fused,
    "telling": _telling,
    "double": _of_type(TensorProto.DOUBLE),
    "float16": _of_type(TensorProto.FLOAT16),
    "bfloat16": _of_type(TensorProto.BFLOAT16),
    "float8": _of_type(TensorProto.FLOAT8E4M3FN),
    "int4": _of_type(TensorProto.INT4),
    "opset7": _of_opset(7, 4),
    "opset26": _of_opset(26, 13),
}
