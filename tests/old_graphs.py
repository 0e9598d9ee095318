"""Graphs of operator sets 7 to 12, of nodes that onnx's converter turns into others beside a weight of every kind."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

_READERS = {
    "matmul": ("float[2,3,6,96] x, float[96,64] W", "[product] t = MatMul(x, W)"),
    "gemm": (
        "float[6,97] x, float[60,97] W, float[60] B",
        "[product] g = Gemm<transB=1>(x, W, B) [shaped] t = Reshape(g, shape)",
    ),
    "conv": ("float[2,16,6,6] x, float[24,16,3,3] W", "[product] t = Conv(x, W)"),
    "lstm": (
        "float[5,2,40] x, float[1,128,40] W, float[1,128,32] R, float[1,256] B",
        "[product] t = LSTM<hidden_size=32>(x, W, R, B)",
    ),
    "gather": ("int64[2,3,6] x, float[50,64] W", "[product] t = Gather(W, x)"),
}
KINDS = (*_READERS, "branch")
"""What reads the weight; `branch`: a Conv inside of both branches of an If, and what is resized too."""

UNTOUCHED = ("grow", "hardest", "soft")
"""What the names of the nodes begin with that mean something else in a newer operator set."""


def old_model(kind: str, opset: int, seed: int = 0) -> ir.Model:
    """Return a model of that operator set: a node that reads a weight, then Upsample or Resize, Hardmax and Softmax."""
    inputs, nodes = _branches(opset) if kind == "branch" else _READERS[kind]
    if kind != "branch":
        nodes += _changing(opset, "")
    return with_weights(
        f"""<ir_version: 8, opset_import: ["": {opset}]>
        old ({inputs}) => ({_outputs("")})
        <int64[4] shape = {{1, 2, 3, 60}}, float[4] scales = {{1, 1, 2, 2}}, float[0] roi = {{}}> {{ {nodes} }}""",
        seed,
    )


def with_weights(text: str, seed: int = 0) -> ir.Model:
    """Return a model written as text; its inputs in capitals become weights of random numbers."""
    model = ir.from_proto(onnx.parser.parse_model(text))
    rng = np.random.default_rng(seed)
    for value in [value for value in model.graph.inputs if str(value.name).isupper()]:
        shape = [int(str(size)) for size in value.shape or ()]
        value.const_value = ir.tensor(rng.standard_normal(shape, dtype=np.float32), name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return model


def _changing(opset: int, mark: str) -> str:
    """Return nodes on `t`, of rank 4, that another operator set gives another meaning or form."""
    kind, given, attributes = "Upsample" if opset < 10 else "Resize", f"t{mark}", 'mode="linear"'
    if opset < 9:
        attributes += ", scales=[1.0, 1.0, 2.0, 2.0]"
    else:
        given += ", roi, scales" if opset > 10 else ", scales"
    return f"""
        [grow{mark}] u{mark} = {kind}<{attributes}>({given})
        [hardest{mark}] h{mark} = Hardmax<axis=1>(t{mark})
        [soft{mark}] s{mark} = Softmax<axis=1>(t{mark})"""


def _branches(opset: int) -> tuple[str, str]:
    """`If(taken)`: the resizing nodes on a Conv, else on its negative."""
    then = f"[product] t_then = Conv(x, W) {_changing(opset, '_then')}"
    other = f"[again] n = Conv(x, W) [negative] t_else = Neg(n) {_changing(opset, '_else')}"
    node = f"""[choice] u, h, s = If(taken) <
        then_branch = then () => ({_outputs("_then")}) {{ {then} }},
        else_branch = other () => ({_outputs("_else")}) {{ {other} }}>"""
    return "float[2,16,6,6] x, bool taken, float[24,16,3,3] W", node


def _outputs(mark: str) -> str:
    return ", ".join(f"float[{name}0,{name}1,{name}2,{name}3] {name}{mark}" for name in "uhs")
