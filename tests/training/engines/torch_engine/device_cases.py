"""Run in the engine's process: other devices than the CPU, and other precisions than float32; prints JSON, a case each.

Without a GPU. That nothing depends on the host is shown on torch's `meta` device, which computes shapes alone and stops
where something lies on another device. Runs and distortions whose weights lie on a GPU are tried on a pretended one.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import onnx_ir as ir
import torch
from engine_under_test import make_engine, tell
from pretended_gpu import GPU, pretended_gpu
from promise_cases import recurrent, small_language_model

from dtc.device_arrays import on_host
from dtc.graph import save_model
from dtc.models import build
from dtc.models.net import Net
from dtc.passes.method import Skip, Weights, make_method
from dtc.passes.plan import make_plan
from dtc.passes.solvers import spectra
from dtc.recipe import Objective, Optimizer, Recipe
from dtc.report.curve import read_events
from dtc.training.engines.torch.calls import Moment
from dtc.training.engines.torch.dtypes import tensor_of
from dtc.training.engines.torch.operators import random
from dtc.training.engines.torch.program import Program
from dtc.training.optimizer import make_optimizer
from dtc.training.progress import MeanMagnitudes
from dtc.training.run import create_run
from dtc.training.session import Session
from dtc.training.snapshot import Snapshot
from dtc.training.work import Tools, work

LANGUAGE = Objective(loss="cross-entropy", output="logits")
CLASSES = Objective(loss="cross-entropy")
UNIFORM = {"method": "uniform", "options": {"bits": 4}}
FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64


def images(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"image": rng.random((8, 1, 28, 28), dtype=np.float32), "labels": rng.integers(0, 10, 8)}


def branching() -> ir.Model:
    """Shapes that are computed, a constant table, and an If whose condition is a number that is fed."""
    net = Net("branching", 0)
    x, rate = net.input("x", FLOAT, ["N", 6, 8]), net.input("rate", INT64, [])
    shape = net.op("Shape", "shape", [x], end=1)
    whole = net.op("Concat", "whole", [shape, net.constant("rest", np.array([48], np.int64))], axis=0)
    flat = net.op("Reshape", "flat", [x, whole])
    shifted = net.op("Sub", "shifted", [flat, net.constant("table", np.ones(48, np.float32))])
    weight = net.uniform("W", (48, 5), 1)
    same = net.op("Equal", "same", [rate, net.constant("16000", np.array(16000))])
    bodies = {}
    for name, factor in (("then_branch", 1.0), ("else_branch", 2.0)):
        constant = ir.Value(name=f"{name}::factor", const_value=ir.tensor(np.full(48, factor, np.float32)))
        node = ir.node("Mul", [shifted, constant], outputs=[ir.Value(name=f"{name}::y")], name=name)
        bodies[name] = ir.Graph([], node.outputs, nodes=[node], initializers=[constant], name=name)
    scaled = net.op("If", "if", [same], **bodies)
    return net.model({"y": (net.op("MatMul", "product", [scaled, weight]), ["N", 5])})


def shapes(model: ir.Model, batch: dict[str, np.ndarray], device: str) -> list[object]:
    """Shapes of the first output and of its gradients, and on which devices these lie."""
    graph = model.graph
    leaves = {
        value: torch.from_numpy(np.array(value.const_value.numpy())).to(device).requires_grad_()
        for value in graph.initializers.values()
        if value.dtype == FLOAT and value.shape.rank() > 1
    }
    program = Program(model, list(leaves), torch.device(device))
    known = {value: tensor_of(batch[value.name]) for value in graph.inputs}
    (y,) = program.run({**known, **leaves}, [graph.outputs[0]], Moment(training=True, seed=1))
    found = torch.autograd.grad(y.sum(), list(leaves.values()))
    assert {y.device.type, *(each.device.type for each in found)} == {device}
    return [list(y.shape), [list(each.shape) for each in found]]


@mock.patch.object(random, "device_source", mock.Mock(return_value=None))  # shapes alone draw nothing
def nothing_on_the_host() -> object:
    language, words = small_language_model()
    tagged = {"x": np.ones((5, 3, 2), "f"), "lengths": np.array([5, 1, 3], np.int32)}
    models = {
        "images": (build("lenet-5", dropout=0.5), images()),
        "language": (language, words),
        "lengths": (recurrent(batch_first=False), tagged),
        "branching": (branching(), {"x": np.ones((3, 6, 8), "f"), "rate": np.array(16000)}),
    }
    return {name: [shapes(*given, device) for device in ("cpu", "meta")] for name, given in models.items()}


def half(precision: str) -> object:
    """Losses of some steps of training in half precision and in float32, and what the parameters are."""
    found = {}
    language, words = small_language_model()
    for name, model, batch, objective, rate in (
        ("images", build("lenet-5"), images(), CLASSES, 5e-4),
        ("language", language, words, LANGUAGE, 3e-3),
    ):
        losses = []
        for each in (precision, "float32"):
            engine = make_engine(model, objective, precision=each)
            optimizer = make_optimizer(Optimizer(kind="adam"), engine.parameters)
            losses.append([])
            for t in range(1, 9):
                result = engine.step(batch, seed=0)
                losses[-1].append(result.loss)
                optimizer.step(engine.parameters, result.gradients, rate=rate, t=t)
            types = {str(array.dtype) for array in (*engine.parameters.values(), *result.gradients.values())}
            assert types == {"float32"}
        found[name] = losses
    return found


def overflow() -> object:
    """A gradient that overflows float16 at the first scale: the step is taken at a smaller one, and none is lost."""
    net = Net("steep", 0)
    x = net.input("x", FLOAT, ["N", 4])
    inner = net.op("MatMul", "inner", [x, net.constant("w", np.ones((4, 4), np.float32))])
    out = net.op("MatMul", "out", [inner, net.constant("v", np.full((4, 1), 8, np.float32))])
    engine = make_engine(net.model({"y": (out, ["N", 1])}), Objective(loss="mse"), precision="fp16")
    result = engine.step({"x": np.ones((2, 4), "f"), "labels": np.zeros((2, 1), "f")}, seed=0)
    return {"gradient": float(result.gradients["w"][0, 0]), "scale": float(engine.state["loss_scale"][0])}


def begun(model: ir.Model, engine: object, method: dict[str, object]) -> Session:
    told = {"rules": [method], "data": {"train": "-"}, "training": {"optimizer": {"kind": "adam", "clip_norm": 1.0}}}
    recipe = Recipe.model_validate(told)
    return Session.begin(model, recipe, engine, make_plan(model, recipe.rules))


def resumed() -> object:
    """Four steps in float16, and two that go on from a checkpoint of the first two: the same bits."""
    model, ends = build("lenet-5"), []
    for stop in (None, 2):
        session = begun(model, make_engine(model, CLASSES, precision="fp16"), UNIFORM)
        for step in range(4):
            session.step(images(step), 1e-3)
            if step + 1 == stop:
                with TemporaryDirectory() as folder:
                    session.snapshot().save(Path(folder) / "half")
                    session = begun(model, make_engine(model, CLASSES, precision="fp16"), UNIFORM)
                    session.restore(Snapshot.load(Path(folder) / "half"))
        ends.append(b"".join(array.tobytes() for array in session.snapshot().arrays.values()))
    return ends[0] == ends[1]


@pretended_gpu()
def tensors(method: str, options: dict[str, object]) -> object:
    """A run whose parameters, gradients and optimizer state lie on a GPU, against one of arrays.

    Steps, a distortion, masks and the loss of swapped weights; then a checkpoint that the other kind goes on from.
    """
    model, rule, told = build("lenet-5"), {"method": method, "options": options}, []
    sessions = [begun(model, make_engine(model, CLASSES, device=device), rule) for device in ("cpu", "cuda")]
    for session in sessions:
        session.progress.steps, losses = 6, []
        for step in range(6):
            losses.append(session.step(images(step), 1e-3).loss)
            if step == 3:
                session.adopt(session.distorted())
                losses.append(session.loss(images(), "now"))
        told.append((losses, session.snapshot().arrays))
    first, second = sessions
    live = second.engine.parameters
    assert second.optimizer.state.keys() == first.optimizer.state.keys()
    assert all(a.device == GPU for n in live for a in (live[n], second.optimizer.state[f"mean/{n}"]))
    far = max(float(np.abs(array - told[1][1][name]).max(initial=0)) for name, array in told[0][1].items())
    second.restore(first.snapshot())
    again = second.snapshot().arrays
    return {
        "losses": [told[0][0], told[1][0]],
        "apart": far,
        "restored": all(np.array_equal(array, again[name]) for name, array in first.snapshot().arrays.items()),
    }


@pretended_gpu()
def whole_run() -> object:
    """What a worker does with a run on a GPU, from its beginning to its result, with Dropout and learned scales."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        save_model(build("lenet-5", dropout=0.5), folder / "model.onnx")
        np.savez(folder / "data.npz", **images())
        training = {"steps": 5, "distort_every": 2, "evaluate_every": 3, "checkpoint_every": 2, "average": 2}
        recipe = Recipe.model_validate(
            {
                "rules": [{"method": "svd", "options": {"rank": 4}}],
                "objective": {"metric": "accuracy"},
                "activations": {"bits": 4},
                "data": {"train": str(folder / "data.npz"), "batch_size": 2},
                "training": {**training, "engine": "torch", "device": "cuda"},
            }
        )
        run = create_run(folder / "run", recipe, folder / "model.onnx")
        assert work(run.folder, Tools(), should_stop=lambda: False)
        result = json.loads((run.folder / "result.json").read_text())
        events = [type(event).__name__ for event in read_events(run.metrics)]
        return {"distortions": result["distortions"], "steps": events.count("Stepped"), "ended": events[-1]}


@pretended_gpu()
def spelling() -> object:
    """The step of a model of sequences on both devices: whether losses and gradients are the same bits."""
    net = Net("spelling", 0)
    x = net.input("x", FLOAT, [6, "N", 4])
    model = net.model({"y": (net.op("MatMul", "product", [x, net.uniform("W", (4, 3), 1)]), [6, "N", 3])})
    batch = {"x": np.random.default_rng(0).normal(size=(6, 2, 4)).astype("f"), "labels": np.array([[2, 2], [1, -1]])}
    told = []
    for device in ("cpu", "cuda"):
        found = make_engine(model, Objective(loss="ctc"), device=device).step(batch, seed=0)
        told.append((found.loss, on_host(found.gradients["W"]).tolist()))
    return told[0] == told[1]


@pretended_gpu()
@mock.patch.object(spectra, "LARGE_SIDE", 16)  # so that small matrices go the way of large ones
def distortions() -> object:
    """How far the weights of a distortion on tensors are from those of one on arrays, relative to the weights."""
    rng = np.random.default_rng(0)
    arrays = {"wide": rng.normal(size=(2, 24, 40)), "tall": rng.normal(size=(1, 96, 32)), "even": np.ones((1, 8, 8))}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    slopes = {name: np.abs(rng.normal(size=array.shape)).astype(np.float32) for name, array in arrays.items()}
    cases = {
        "rank": ("svd", {"rank": 3}),
        "energy": ("svd", {"energy": 0.3}),
        "elements": ("prune", {"sparsity": 0.7}),
        "together": ("prune", {"sparsity": 0.7, "scope": "global"}),
        "lines": ("prune", {"sparsity": 0.5, "structure": "row"}),
        "pattern": ("prune", {"pattern": "2:4"}),
        "levels": ("uniform", {"bits": 4}),
        "groups": ("uniform", {"bits": 3, "group_size": 8}),
        "short group": ("uniform", {"bits": 3, "group_size": 16}),
        "signs": ("binary", {"bits": 1}),
        "greedy planes": ("binary", {"bits": 3, "solver": "greedy"}),
        "refined planes": ("binary", {"bits": 3, "solver": "refined", "group_size": 8}),
        "planes by rounds": ("binary", {"bits": 2, "rounds": 3}),
        "planes from the last": ("binary", {"bits": 3}),
        "short group of planes": ("binary", {"bits": 2, "group_size": 16}),
        "codewords from the last": ("codebook", {"codewords": 8, "block": 4}),
        "scalars from the last": ("codebook", {"codewords": 8, "block": 1}),
        "plain codewords from the last": ("codebook", {"codewords": 4, "block": 2, "gradient_weight": 0}),
        "plain scalars from the last": ("codebook", {"codewords": 4, "block": 1, "gradient_weight": 0}),
        "last, of distances alike": ("codebook", {"codewords": 8, "block": 8, "beta": 0}),
    }
    found = {}
    for case, (name, options) in cases.items():
        outcomes = []
        for place in (np.asarray, lambda array: torch.from_numpy(array).to(GPU)):
            weights = [
                Weights(site, place(array.copy()), site, gradient=place(slopes[site])) for site, array in arrays.items()
            ]
            outcomes.append(make_method(name, options).distort(weights))
            if "last" in case:  # once more, of other weights and from the forms of the first time
                last = {site: None if isinstance(found, Skip) else found for site, found in outcomes[0].items()}
                weights = [replace(w, matrices=w.matrices + 0.1 * w.gradient, previous=last[w.site]) for w in weights]
                outcomes.append(make_method(name, options).distort(weights))
            assert "last" in case or all(np.array_equal(on_host(w.matrices), arrays[w.site]) for w in weights)
        assert make_method(name, options).on_device
        # Of equal weights all codewords are the same, and any of them is the nearest.
        sites = [site for site in arrays if name != "codebook" or site != "even"]
        pairs = [(outcomes[len(outcomes) // 2 - 1][site], outcomes[-1][site]) for site in sites]
        coded = [pair for pair in pairs if not isinstance(pair[0], Skip)]
        assert len(coded) >= 2 or case == "energy"
        assert all(a == b for a, b in pairs if isinstance(a, Skip))
        dense = [(a.dense(), b.dense()) for first, second in coded for a, b in zip(first, second, strict=True)]
        found[case] = max(float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1.0)) for a, b in dense)
        if name == "codebook":  # whose iteration may end a round apart: as near to the weights as each other
            given = np.concatenate([on_host(w.matrices).ravel() for w in weights if w.site in sites])
            ends = [np.concatenate([part.ravel() for part in side]) for side in zip(*dense, strict=True)]
            first, second = (float(np.linalg.norm(end - given)) for end in ends)
            found[case] = abs(second / first - 1)
    return found


def magnitudes() -> object:
    """Mean magnitudes of gradients that begin in host memory, as those of a checkpoint do, and go on as tensors."""
    sums = MeanMagnitudes({"w": np.array([2.0, 0.0], np.float32)}, 1)
    sums.add({"w": torch.tensor([-4.0, 1.0])})
    return [type(sums.means()["w"]).__name__, sums.means()["w"].tolist()]


if __name__ == "__main__":
    tell(
        {
            "nothing on the host": nothing_on_the_host,
            "bf16": lambda: half("bf16"),
            "fp16": lambda: half("fp16"),
            "overflow": overflow,
            "resumed": resumed,
            "svd": lambda: tensors("svd", {"rank": 4}),
            "prune-masked": lambda: tensors("prune-masked", {"sparsity": 0.8, "end_step": "10%"}),
            "codewords": lambda: tensors("codebook", {"codewords": 8, "keep_assignments": True}),
            "uniform": lambda: tensors("uniform", {"bits": 4}),
            "whole run": whole_run,
            "distortions": distortions,
            "magnitudes": magnitudes,
            "spelling": spelling,
            "cuda": lambda: make_engine(build("lenet-5"), CLASSES, device="cuda"),
            "mps": lambda: make_engine(build("lenet-5"), CLASSES, device="mps"),
        }
    )
