"""Run in the engine's process: gradients through quantized activations; prints JSON, a case each.

A network of two products with a quantizer between them is written out in NumPy, in double precision. A case gives
[found, wanted] of the loss, of the gradients of both weights and of the scale.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from engine_under_test import make_engine, tell

from dtc.models.net import Net
from dtc.recipe import Objective

FLOAT = ir.DataType.FLOAT
SCALE = 0.13


def network(zero: np.ndarray, highest: int | None = None, *, shape: tuple[int, ...] = (), readers: int = 1) -> ir.Model:
    """y = round(x A) B, each row of B behind a DequantizeLinear of its own where there are two `readers`."""
    net = Net("quantized", 0)
    h = net.op("MatMul", "first", [net.input("x", FLOAT, ["N", 5]), net.uniform("A", (5, 6), 1)])
    scale, point = net.constant("s", np.full(shape, SCALE, np.float32)), net.constant("z", zero)
    q = net.op("QuantizeLinear", "quantize", [h, scale, point])
    if highest is not None:
        q = net.op("Clip", "clip", [q, None, net.constant("highest", np.array(highest, zero.dtype))])
    parts = [net.op("DequantizeLinear", f"r{index}", [q, scale, point]) for index in range(readers)]
    B = net.uniform("B", (6, 3), 1)
    products = [net.op("MatMul", f"second{index}", [part, B]) for index, part in enumerate(parts)]
    out = products[0] if readers == 1 else net.op("Add", "sum", products)
    return net.model({"y": (out, ["N", 3])})


def batch(size: int = 9) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {"x": rng.normal(size=(size, 5)).astype("f"), "labels": rng.normal(size=(size, 3)).astype("f")}


def by_hand(
    fed: dict[str, np.ndarray], weights: dict[str, np.ndarray], low: int, high: int, delta: float, readers: int
):
    """Loss and gradients by the formulas of EWGS and LSQ; `low` and `high` are levels less the zero point."""
    B, s = (weights[name].astype("d") for name in "Bs")
    scaled = (fed["x"] @ weights["A"]).astype("d") / s
    clipped = np.clip(scaled, low, high)
    q, inside = np.rint(clipped), scaled == clipped
    error = readers * (s * q) @ B - fed["labels"]
    g = readers * (2 * error / error.size) @ B.T
    normal, rounded = (clipped - low) / (high - low), (q - low) / (high - low)
    gx = inside * g * (1 + delta * np.sign(g) * (normal - rounded))
    gs = (g * np.where(inside, q - scaled, q)).sum() / np.sqrt(6 * (high - low))
    return np.square(error).mean(), {"A": fed["x"].T @ gx, "B": (s * q).T @ (readers * 2 * error / error.size), "s": gs}


def pair(
    zero: np.ndarray, bounds: tuple[int, int], delta: float, *, shape: tuple[int, ...] = (), readers: int = 1, **options
) -> object:
    limits = np.iinfo(zero.dtype)
    highest = None if bounds[1] == limits.max else bounds[1]
    engine = make_engine(
        network(zero, highest, shape=shape, readers=readers), Objective(loss="mse"), threads=1, delta=delta, **options
    )
    fed = batch()
    found = engine.step(fed, seed=0)
    weights = {"A": np.zeros(()), "B": np.zeros(()), "s": np.full((), SCALE)} | engine.parameters
    if "A" not in engine.parameters:
        weights["A"] = network(zero).graph.initializers["A"].const_value.numpy()
    low, high = bounds[0] - int(zero), bounds[1] - int(zero)
    loss, gradients = by_hand(fed, weights, low, high, delta, readers)
    return {
        "loss": [found.loss, engine.loss(fed)[0], float(loss)],
        "gradients": {
            name: [np.ravel(a).tolist(), np.ravel(gradients[name]).tolist()] for name, a in found.gradients.items()
        },
        "positive": sorted(engine.positive),
        "frozen": engine.frozen,
    }


def shared_scale() -> object:
    """Two quantizers with one scale: its gradient is the sum of what each has with a scale of its own."""

    def build(names: str) -> ir.Model:
        net = Net("shared", 0)
        scales = {name: net.constant(name, np.array(SCALE, np.float32)) for name in dict.fromkeys(names)}
        zero = net.constant("z", np.array(100, np.uint8))
        x = net.op("MatMul", "first", [net.input("x", FLOAT, ["N", 5]), net.uniform("A", (5, 6), 1)])
        for index, name in enumerate(names):
            q = net.op("QuantizeLinear", f"q{index}", [x, scales[name], zero])
            r = net.op("DequantizeLinear", f"r{index}", [q, scales[name], zero])
            x = net.op("MatMul", f"product{index}", [r, net.uniform(f"B{index}", (6, 6), 1)])
        return net.model({"y": (x, ["N", 6])})

    fed = batch() | {"labels": np.random.default_rng(4).normal(size=(9, 6)).astype("f")}
    one, two = (make_engine(build(names), Objective(loss="mse"), threads=1).step(fed, seed=0) for names in ("ss", "st"))
    return [float(one.gradients["s"]), float(two.gradients["s"] + two.gradients["t"])]


def beside() -> object:
    """A quantizer that only an output without a loss reads; the parameters that are trained."""
    model = network(np.array(6, np.uint8))
    other = network(np.array(6, np.uint8)).graph
    for value in (*other.initializers.values(), *(value for node in other for value in node.outputs)):
        value.name = f"other.{value.name}"
    for node in other:
        node.name = f"other.{node.name}"
        for index, value in enumerate(node.inputs):
            if value is other.inputs[0]:
                node.replace_input_with(index, model.graph.inputs[0])
    values = list(other.initializers.values())
    other.initializers.clear()
    for value in values:
        model.graph.register_initializer(value)
    output, nodes = other.outputs[0], list(other)
    other.outputs.clear()
    other.remove(nodes)
    model.graph.extend(nodes)
    model.graph.outputs.append(output)
    engine = make_engine(model, Objective(loss="mse"), threads=1)
    engine.step(batch(), seed=0)
    return sorted(engine.parameters)


U8, I8 = np.uint8, np.int8
CASES: dict[str, Callable[[], object]] = {
    "straight-through": lambda: pair(np.array(100, U8), (0, 255), 0.0),
    "scaled": lambda: pair(np.array(100, U8), (0, 255), 0.5),
    "four bits": lambda: pair(np.array(6, U8), (0, 15), 0.5),
    "two bits from zero": lambda: pair(np.array(0, U8), (0, 3), 1e-3),
    "signed": lambda: pair(np.array(5, I8), (-128, 127), 0.2),
    "scale of shape [1]": lambda: pair(np.array(6, U8), (0, 15), 0.2, shape=(1,)),
    "two readers": lambda: pair(np.array(6, U8), (0, 15), 0.2, readers=2),
    "frozen scale": lambda: pair(np.array(6, U8), (0, 15), 0.2, freeze=("s",)),
    "frozen weight before it": lambda: pair(np.array(6, U8), (0, 15), 0.2, freeze=("A",)),
    "shared scale": shared_scale,
    "beside": beside,
}


if __name__ == "__main__":
    tell(CASES)
