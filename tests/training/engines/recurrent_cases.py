"""Run in the engine's process: variants of LSTM, GRU and RNN, forward against the node, gradient against differences.

Prints one JSON object: variant -> [loss difference to the node, relative errors of directional derivatives].
"""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
from engine_under_test import make_engine, tell

from dtc.recipe import Objective

T, N, WIDTH, H = 3, 3, 2, 3


def build(kind: str, direction: str, extras: frozenset[str], linear: int) -> ir.Model:
    rng = np.random.default_rng(5)
    d, gates = (2 if direction == "bidirectional" else 1), {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 17})

    def weight(name: str, *shape: int) -> ir.Value:
        tensor = ir.tensor(rng.normal(0, 0.5, shape).astype(np.float32), name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(shape), const_value=tensor)
        graph.register_initializer(value)
        return value

    def feed(name: str, shape: list[object], dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))
        graph.inputs.append(value)
        return value

    state = [d, "N", H]
    inputs = [feed("x", ["T", "N", WIDTH]), weight("W", d, gates * H, WIDTH), weight("R", d, gates * H, H)]
    inputs.append(weight("B", d, 2 * gates * H) if "bias" in extras else None)
    inputs.append(feed("lens", ["N"], ir.DataType.INT32) if "lengths" in extras else None)
    inputs.append(feed("h0", state) if "state" in extras else None)
    if kind == "LSTM":
        inputs.append(feed("c0", state) if "state" in extras else None)
        inputs.append(weight("P", d, 3 * H) if "peepholes" in extras else None)
    attributes = {"hidden_size": H, "direction": direction} | ({"clip": 0.4} if "clip" in extras else {})
    if kind == "GRU":
        attributes["linear_before_reset"] = linear
    node = ir.node(kind, inputs, attributes, num_outputs=3 if kind == "LSTM" else 2)
    graph.append(node)
    flat = []
    for index, value in enumerate(node.outputs):
        value.name = f"Y{index}"
        scaled = ir.node("Mul", [value, weight(f"scale{index}", H)])
        graph.append(scaled)
        shape = ir.tensor(np.array([-1], np.int64), name=f"flat{index}")
        target = ir.Value(name=shape.name, type=ir.TensorType(shape.dtype), shape=ir.Shape([1]), const_value=shape)
        graph.register_initializer(target)
        reshaped = ir.node("Reshape", [scaled.outputs[0], target])
        graph.append(reshaped)
        flat.append(reshaped.outputs[0])
    joined = ir.node("Concat", flat, {"axis": 0})
    joined.outputs[0].name = "out"
    joined.outputs[0].type, joined.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["K"])
    graph.append(joined)
    graph.outputs.append(joined.outputs[0])
    return ir.Model(graph, ir_version=8)


def examine(model: ir.Model) -> list[float]:
    rng = np.random.default_rng(0)
    engine = make_engine(model, Objective(loss="mse"), threads=1)
    d = engine.parameters["W"].shape[0]
    batch = {"x": rng.normal(size=(T, N, WIDTH)).astype("f"), "lens": np.array([3, 1, 2], "i4")}
    batch |= {name: rng.normal(size=(d, N, H)).astype("f") for name in ("h0", "c0")}
    batch["labels"] = rng.normal(size=engine.predict(batch)["out"].shape).astype("f")
    result = engine.step(batch, seed=0)
    gradients = {name: value.copy() for name, value in result.gradients.items()}
    found = [abs(result.loss - engine.loss(batch)[0])]
    for name, gradient in gradients.items():
        array = engine.parameters[name]
        direction = (rng.normal(size=array.shape) + np.sign(gradient)).astype("f")
        before, step = array.copy(), 3e-3
        losses = []
        for sign in (1, -1):
            array[...] = before + np.float32(sign * step) * direction
            losses.append(engine.loss(batch)[0])
        array[...] = before
        numeric, exact = (losses[0] - losses[1]) / (2 * step), float((gradient * direction).sum())
        found.append(abs(numeric - exact) / max(1e-2, abs(exact)))
    return found


def variants():
    for direction, extras in itertools.product(
        ("forward", "reverse", "bidirectional"),
        ((), ("bias",), ("bias", "state"), ("bias", "state", "lengths"), ("lengths",), ("bias", "state", "clip")),
    ):
        # Both directions of a bidirectional node are computed as those of their own are.
        if direction != "bidirectional" and extras not in ((), ("bias", "state", "lengths")):
            continue
        yield "LSTM", direction, frozenset(extras), 0
        if len(extras) in (0, 3):
            yield "RNN", direction, frozenset(extras), 0
        for linear in (0, 1):
            yield "GRU", direction, frozenset(extras), linear
        if "bias" in extras and "clip" not in extras:
            yield "LSTM", direction, frozenset(extras) | {"peepholes"}, 0


if __name__ == "__main__":
    tell(
        {
            f"{kind}-{direction}-{'+'.join(sorted(extras))}-{linear}": lambda built=(kind, direction, extras, linear): (
                examine(build(*built))
            )
            for kind, direction, extras, linear in variants()
        }
    )
