"""Small graphs of which a comparison is not easily worth something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser

HEAD = '<ir_version: 8, opset_import: ["": 17]> g '


def weight(*shape: int, dtype: type[np.generic] = np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def written(folder: Path, text: str, name: str = "m.onnx", **initializers: np.ndarray) -> Path:
    """Write the graph of a text in ONNX's own notation, with further initializers."""
    model = onnx.parser.parse_model(text)
    for key, array in initializers.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, key))
    onnx.save(model, folder / name)
    return folder / name


BY_RATE = (
    HEAD
    + """(float[N, 64] x, int64 rate) => (float[N, 48] y) {
    c = Constant <value_int = 8000> ()
    h = MatMul (x, W)
    is_low = Equal (rate, c)
    y = If (is_low) <
        then_branch = low () => (float[N, 48] a) { a = MatMul (h, V) },
        else_branch = high () => (float[N, 48] b) { b = Relu (h) }
    >
}"""
)

NESTED = (
    HEAD
    + """(float[N, 64] x, int64 rate, int64 mode) => (float[N, 48] y) {
    c = Constant <value_int = 8> ()
    k = Constant <value_int = 1000> ()
    limit = Constant <value_int = 3> ()
    h = MatMul (x, W)
    kilo = Div (rate, k)
    is_low = Equal (kilo, c)
    y = If (is_low) <
        then_branch = low () => (float[N, 48] a) {
            is_small = Less (mode, limit)
            a = If (is_small) <
                then_branch = small () => (float[N, 48] a1) { a1 = Relu (h) },
                else_branch = big () => (float[N, 48] a2) { a2 = Neg (h) }
            >
        },
        else_branch = high () => (float[N, 48] b) { b = Identity (h) }
    >
}"""
)

IN_LOOP = (
    HEAD
    + """(float[N, 64] x, int64 k) => (float[N, 48] y) {
    h = MatMul (x, W)
    count = Constant <value_int = 4> ()
    one = Constant <value_int = 1> ()
    always = Cast <to = 9> (one)
    y = Loop (count, always, h) <body = b (int64 i, bool c, float[N, 48] s) => (bool co, float[N, 48] so) {
        co = Identity (c)
        late = Greater (i, k)
        so = If (late) <
            then_branch = yes () => (float[N, 48] a1) { a1 = Relu (s) },
            else_branch = no () => (float[N, 48] a2) { a2 = Neg (s) }
        >
    }>
}"""
)

UNTAKEN = (
    HEAD
    + """(float[N, 64] x) => (float[N, 48] y) {
    h = MatMul (x, W)
    squared = Mul (x, x)
    least = ReduceMin <keepdims = 0> (squared)
    zero = Constant <value_float = 0.0> ()
    never = Less (least, zero)
    y = If (never) <
        then_branch = yes () => (float[N, 48] a) { a = Neg (h) },
        else_branch = no () => (float[N, 48] b) { b = Identity (h) }
    >
}"""
)

LOG = HEAD + "(float[N, 64] x) => (float[N, 48] y) { l = Log (x) y = MatMul (l, W) }"

TWO_DOMAINS = (
    HEAD
    + """(float[N, 64] x, float[N, 64] z) => (float[N, 48] y, float[N, 48] u) {
    n = Neg (x)
    s = Sqrt (n)
    y = MatMul (s, W)
    l = Log (z)
    u = MatMul (l, W)
}"""
)

NEVER_FINITE = (
    HEAD
    + """(float[N, 64] x) => (float[N, 48] y) {
    one = Constant <value_float = 1.0> ()
    a = Abs (x)
    b = Add (a, one)
    c = Neg (b)
    l = Log (c)
    y = MatMul (l, W)
}"""
)

FIVE_TO_TEN = (
    HEAD
    + """(float[N, 64] x) => (float[N, 48] y) {
    five = Constant <value_float = 500.0> ()
    shifted = Sub (x, five)
    l = Log (shifted)
    y = MatMul (l, W)
}"""
)

RANDOM = {
    "normal like": "h = MatMul (x, W) n = RandomNormalLike (h) y = Add (h, n)",
    "uniform": "h = MatMul (x, W) n = RandomUniform <shape = [48]> () y = Add (h, n)",
    "bernoulli": "p = Sigmoid (x) b = Bernoulli (p) y = MatMul (b, W)",
    "two of them": "h = MatMul (x, W) n = RandomNormalLike (h) m = RandomNormalLike (h) d = Sub (n, m) y = Mul (h, d)",
    "multinomial": "h = MatMul (x, W) i = Multinomial <sample_size = 48> (h) f = Cast <to = 1> (i) y = Add (h, f)",
}


def random(body: str) -> str:
    return HEAD + "(float[N, 64] x) => (float[N, 48] y) { " + body + " }"
