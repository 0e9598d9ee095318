"""Run in the engine's process: what it refuses, and what becomes of its trials; prints JSON, a case each."""

from __future__ import annotations

import signal
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from engine_under_test import tell

from dtc.errors import DtcError
from dtc.models.net import Net
from dtc.recipe import Objective
from dtc.training.engine_settings import EngineSettings
from dtc.training.engines.ort import trial
from dtc.training.engines.ort.engine import OrtEngine

FLOAT = ir.DataType.FLOAT
MSE = Objective(loss="mse")


def straight() -> ir.Model:
    net = Net("straight", 0)
    x = net.input("x", FLOAT, ["N", 400])
    out = net.op("MatMul", "out", [x, net.constant("w", np.ones((400, 1), np.float32))])
    return net.model({"y": (out, ["N", 1])})


def refused(model: ir.Model, objective: Objective = MSE) -> str:
    try:
        OrtEngine(model, EngineSettings(objective, threads=1))
    except DtcError as error:
        return f"{type(error).__name__}: {error}"
    return "taken"


def too_new() -> ir.Model:
    """RMSNormalization came with opset 23."""
    net = Net("new", 0)
    x = net.op("MatMul", "first", [net.input("x", FLOAT, ["N", 4]), net.uniform("A", (4, 4), 1)])
    out = net.op("Identity", "out", [x])
    model = net.model({"y": (out, ["N", 4])})
    node = next(node for node in model.graph if node.name == "out")
    scale = next(iter(model.graph.initializers.values()))
    replaced = ir.node("RMSNormalization", [node.inputs[0], scale], name="rms", outputs=None)
    model.graph.insert_before(node, replaced)
    node.replace_input_with(0, replaced.outputs[0])
    model.opset_imports[""] = 23
    return model


def old(nodes: str) -> ir.Model:
    """Return a model of opset 10 of the nodes, `x [N, 4, 6, 6]` to `y`, with the weight W of a 3x3 Conv."""
    model = ir.from_onnx_text(
        f"""<ir_version: 8, opset_import: ["": 10]> old (float[N,4,6,6] x, float[4,4,3,3] W) => (float[N,C,H,K] y)
        <float[4] scales = {{1, 1, 2, 2}}> {{ {nodes} }}"""
    )
    weight = model.graph.inputs.pop()
    array = np.random.default_rng(0).standard_normal((4, 4, 3, 3), dtype=np.float32)
    weight.const_value = ir.tensor(array, name="W")
    model.graph.register_initializer(weight)
    return model


def proof(nodes: str) -> str:
    """Whether what trains a model of opset 10 computes what the model computes."""
    engine, rng = OrtEngine(old(nodes), EngineSettings(MSE, threads=1)), np.random.default_rng(1)
    try:
        engine.prove({"x": rng.standard_normal((2, 4, 6, 6), dtype=np.float32)} for _ in range(2))
    except DtcError as error:
        return f"{type(error).__name__}: {error}"
    return "proven"


def unread_proof() -> str:
    """A model that need not be converted is not run for it."""
    OrtEngine(straight(), EngineSettings(MSE, threads=1)).prove({} for _ in range(2))
    return "proven"


def ended_trial(number: int) -> object:
    """The process of the trials is ended by a signal: what the next trial says, and the one after."""
    model = straight()
    OrtEngine(model, EngineSettings(MSE, threads=1))
    trial._Helper.current()._process.send_signal(number)
    return [refused(model), refused(model)]


def tired_helper() -> object:
    """The process of the trials has ended by itself."""
    model = straight()
    OrtEngine(model, EngineSettings(MSE, threads=1))
    helper = trial._Helper.current()._process
    helper.stdin.close()
    return [helper.wait(), refused(model)]


CASES: dict[str, Callable[[], object]] = {
    "linear": lambda: proof('[grow] r = Resize<mode="linear">(x, scales) [product] y = Conv(r, W)'),
    "nearest": lambda: proof('[grow] r = Resize<mode="nearest">(x, scales) [product] y = Conv(r, W)'),
    "hardmax": lambda: proof("[hard] h = Hardmax<axis=1>(x) [product] y = Conv(h, W)"),
    "noise": lambda: proof("[noise] n = RandomNormalLike(x) [sum] s = Add(x, n) [product] y = Conv(s, W)"),
    "new enough": unread_proof,
    "too new": lambda: refused(too_new()),
    "crashed trial": lambda: ended_trial(signal.SIGABRT),
    "tired helper": tired_helper,
    "killed trial": lambda: ended_trial(signal.SIGKILL),
}


if __name__ == "__main__":
    tell(CASES)
